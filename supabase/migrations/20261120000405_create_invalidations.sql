-- The feed of invalidations: which copies of pictures are wrong, wherever processes keep them. However an entry goes
-- (cleanup, purge, takedown, a missing object, a person's DELETE, a cascade), its generation is named here.
create table copperplate.invalidations (
    -- The top-level transaction that declared them wrong: a snapshot tells whether its reader has seen it.
    transaction xid8 not null default pg_current_xact_id(),
    id bigint generated always as identity,
    -- Null: of all generations.
    generation_key text,
    -- Null: in every tier.
    tier text,
    -- A reader asks for what is newer than a transaction.
    constraint invalidations_pkey primary key (transaction, id),
    constraint invalidations_tier_is_known check (tier in ('memory', 'disk', 'redis'))
);

comment on table copperplate.invalidations is
'Copies of pictures that were declared wrong in the last day or two.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.invalidations enable row level security;
revoke all on table copperplate.invalidations from public, anon, authenticated, service_role;
grant select, insert, delete on table copperplate.invalidations to service_role;

-- What the feed knows of itself: one row.
create table copperplate.feed_states (
    is_only boolean not null default true,
    -- Renewed after a restore, by raise_fences.
    database_id uuid not null default gen_random_uuid(),
    -- Invalidations by transactions that this snapshot includes may be forgotten.
    forgotten pg_snapshot not null default '1:1:',
    -- The snapshot of `marked_at`, which takes its place a day later.
    marked pg_snapshot not null default pg_current_snapshot(),
    marked_at timestamptz not null default copperplate.clock(),
    constraint feed_states_pkey primary key (is_only),
    constraint feed_states_one_row check (is_only)
);

comment on table copperplate.feed_states is
'One row: the id of this database, and how far invalidations may be forgotten.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.feed_states enable row level security;
revoke all on table copperplate.feed_states from public, anon, authenticated, service_role;
grant select, update on table copperplate.feed_states to service_role;

insert into copperplate.feed_states (is_only) values (true);

create function copperplate.note_entries_wrong()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
declare
    -- As many as read_feed tells: of more its readers drop all that they have.
    c_most constant integer := 10000;
    v_has_many boolean := (
        select count(*) > c_most from (select distinct e.generation_key from removed as e limit c_most + 1) as k
    );
begin
    insert into copperplate.invalidations (generation_key)
    select distinct case when not v_has_many then e.generation_key end from removed as e;
    return null;
end;
$$;

comment on function copperplate.note_entries_wrong() is
'Declares copies of removed entries wrong: one invalidation a generation and statement, or, of more than 10,000
generations, one of all.';
revoke all on function copperplate.note_entries_wrong() from public, anon, authenticated;
grant execute on function copperplate.note_entries_wrong() to service_role;

create function copperplate.note_entry_replaced()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    insert into copperplate.invalidations (generation_key) values (old.generation_key);
    return null;
end;
$$;

comment on function copperplate.note_entry_replaced() is
'Declares copies of an entry wrong that has another object now.';
revoke all on function copperplate.note_entry_replaced() from public, anon, authenticated;
grant execute on function copperplate.note_entry_replaced() to service_role;

create function copperplate.note_all_wrong()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    insert into copperplate.invalidations (generation_key) values (null);
    return null;
end;
$$;

comment on function copperplate.note_all_wrong() is 'Declares copies of all pictures wrong.';
revoke all on function copperplate.note_all_wrong() from public, anon, authenticated;
grant execute on function copperplate.note_all_wrong() to service_role;

create trigger cache_entries_wrong
after delete on copperplate.cache_entries
referencing old table as removed
for each statement execute function copperplate.note_entries_wrong();

-- A row at a time: a trigger of some columns has no table of its rows, and one of all would see every hit that is
-- counted. Entries are replaced one by one.
create trigger cache_entries_replaced
after update of bucket, path, digest on copperplate.cache_entries
for each row
when ((old.bucket, old.path, old.digest) is distinct from (new.bucket, new.path, new.digest))
execute function copperplate.note_entry_replaced();

create trigger cache_entries_truncated
after truncate on copperplate.cache_entries
for each statement execute function copperplate.note_all_wrong();

create function public.invalidate_tiers(p_tiers text[], p_generation_keys text[] default null)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_noted bigint;
begin
    insert into copperplate.invalidations (generation_key, tier)
    select distinct k.key, t.tier
    from unnest(p_tiers) as t (tier)
    cross join unnest(coalesce(p_generation_keys, array[null::text])) as k (key)
    -- Without its name a tier would be every tier.
    where t.tier is not null and (k.key is not null or p_generation_keys is null);
    get diagnostics v_noted = row_count;
    return v_noted;
end;
$$;

comment on function public.invalidate_tiers(text[], text[]) is
'Declare copies in these tiers (memory, disk, redis) wrong, of these generations or, where they are null, of all; the
pictures stay. Answers how many invalidations that makes. Repeated, it declares them wrong once more.';
revoke all on function public.invalidate_tiers(text[], text[]) from public, anon, authenticated;
grant execute on function public.invalidate_tiers(text[], text[]) to service_role;

create function copperplate.forget_invalidations(p_limit integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_state copperplate.feed_states;
begin
    -- One at a time; whoever finds another at it leaves it to that one.
    select s.* into v_state from copperplate.feed_states as s for update skip locked;
    if not found then
        return;
    end if;
    if v_state.marked_at < copperplate.clock() - interval '1 day' then
        -- One of the future was restored from another server: nothing of this one is in it.
        update copperplate.feed_states as s
        set
            forgotten = case
                when pg_snapshot_xmax(s.marked) <= pg_snapshot_xmax(pg_current_snapshot()) then s.marked else '1:1:'
            end,
            marked = pg_current_snapshot(),
            marked_at = copperplate.clock()
        where s.is_only
        returning s.* into v_state;
    end if;
    -- By their places: nothing updates them.
    delete from copperplate.invalidations as i
    where i.ctid = any(array(
        select o.ctid
        from copperplate.invalidations as o
        where
            o.transaction < pg_snapshot_xmax(v_state.forgotten)
            and pg_visible_in_snapshot(o.transaction, v_state.forgotten)
        order by o.transaction, o.id
        limit p_limit
    ));
end;
$$;

comment on function copperplate.forget_invalidations(integer) is
'Forget invalidations that are a day old at least, p_limit at most. A cursor from before them is not continued.';
revoke all on function copperplate.forget_invalidations(integer) from public, anon, authenticated;
grant execute on function copperplate.forget_invalidations(integer) to service_role;
