-- The outbox of CDN purges: copies outside of our reach that were declared wrong, until their CDN was told of it. A row
-- is written by the transaction that declares, so none is lost with a process.
create table copperplate.cdn_purges (
    id bigint generated always as identity,
    -- How a CDN knows the copies: tag, what was answered with the tag of a generation, or object, what Storage serves.
    scope text not null,
    -- Of a tag; null for everything.
    generation_key text,
    -- Of an object; the path is null for the whole bucket.
    bucket text,
    path text,
    declared_at timestamptz not null,
    -- When a worker first saw it, by which time the transaction that declared it had ended.
    seen_at timestamptz,
    -- When the newest try began.
    tried_at timestamptz,
    tries integer not null default 0,
    -- Whoever tries it now; until due_at nobody else takes it.
    claim uuid,
    due_at timestamptz not null,
    constraint cdn_purges_pkey primary key (id),
    constraint cdn_purges_scope_is_known check (scope in ('tag', 'object')),
    constraint cdn_purges_tag_is_of_a_generation
    check (scope <> 'tag' or (bucket is null and path is null)),
    constraint cdn_purges_object_is_in_a_bucket
    check (scope <> 'object' or (bucket is not null and generation_key is null)),
    constraint cdn_purges_generation_key_is_sha256 check (generation_key ~ '^[0-9a-f]{64}$')
);

create index cdn_purges_due_idx on copperplate.cdn_purges (scope, due_at);
create index cdn_purges_claim_idx on copperplate.cdn_purges (claim) where claim is not null;

comment on table copperplate.cdn_purges is
'CDN purges that are to be made, and those to be made once more. Row-level security is on without a policy: only
service_role and the owner see rows.';

alter table copperplate.cdn_purges enable row level security;
revoke all on table copperplate.cdn_purges from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.cdn_purges to service_role;

create function copperplate.add_cdn_purges(p_generation_keys text[], p_objects jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- More than these are everything.
    c_most constant integer := 100;
    v_now timestamptz := copperplate.clock();
begin
    insert into copperplate.cdn_purges (scope, generation_key, declared_at, due_at)
    select distinct 'tag', case when cardinality(p_generation_keys) <= c_most then k.key end, v_now, v_now
    from unnest(p_generation_keys) as k (key);

    insert into copperplate.cdn_purges (scope, bucket, path, declared_at, due_at)
    select distinct
        'object',
        o.object ->> 0,
        case when jsonb_array_length(p_objects) <= c_most then o.object ->> 1 end,
        v_now,
        v_now
    from jsonb_array_elements(p_objects) as o (object);
end;
$$;

comment on function copperplate.add_cdn_purges(text[], jsonb) is
'Have CDNs forget these generations, and these objects, [[bucket, path]]; a null key is everything, a null path a whole
bucket. More than 100 are everything, or their whole buckets.';
revoke all on function copperplate.add_cdn_purges(text[], jsonb) from public, anon, authenticated;
grant execute on function copperplate.add_cdn_purges(text[], jsonb) to service_role;

create function copperplate.without_private(p_generation_keys text[])
returns text[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return array(
        select n.key
        from unnest(p_generation_keys) as n (key)
        where not exists (
            select from public.generation_status as g
            inner join copperplate.kinds as k on g.kind = k.name
            where g.prompt_hash = n.key and not k.is_public
        )
    );
end;
$$;

comment on function copperplate.without_private(text[]) is
'Of these generations those that may be in a CDN by their tag: all but those that are known to be of a private kind.';
revoke all on function copperplate.without_private(text[]) from public, anon, authenticated;
grant execute on function copperplate.without_private(text[]) to service_role;

create function copperplate.add_cdn_purges_of_all()
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform copperplate.add_cdn_purges(
        array[null]::text[],
        (select jsonb_agg(jsonb_build_array(k.bucket, null)) from copperplate.kinds as k)
    );
end;
$$;

comment on function copperplate.add_cdn_purges_of_all() is 'Have CDNs forget everything of ours.';
revoke all on function copperplate.add_cdn_purges_of_all() from public, anon, authenticated;
grant execute on function copperplate.add_cdn_purges_of_all() to service_role;

create function copperplate.set_aging(p_is_aging boolean)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform set_config('copperplate.is_aging', case when p_is_aging then 'on' else '' end, true);
end;
$$;

comment on function copperplate.set_aging(boolean) is
'Whether what this transaction deletes from now on is old, displaced, or declared by its caller, and not declared wrong
by the deletion itself. Whoever sets it takes it back: without it too much is purged, left behind it too little.';
revoke all on function copperplate.set_aging(boolean) from public, anon, authenticated;
grant execute on function copperplate.set_aging(boolean) to service_role;

create function copperplate.note_cdn_purges()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
declare
    -- As many as add_cdn_purges names.
    c_most constant integer := 100;
    v_has_many boolean;
begin
    if tg_op = 'TRUNCATE' then
        perform copperplate.add_cdn_purges_of_all();
    elsif coalesce(current_setting('copperplate.is_aging', true), '') <> 'on' then
        -- Of a deletion of millions neither array holds more than it takes to see that there are too many.
        v_has_many := (select count(*) > c_most from (select from removed limit c_most + 1) as e);
        perform copperplate.add_cdn_purges(
            -- Answers with pictures of other kinds are in no CDN.
            array(
                select distinct e.generation_key
                from removed as e
                inner join copperplate.kinds as k on e.kind = k.name
                where k.is_public
                limit c_most + 1
            ),
            coalesce(
                (
                    select jsonb_agg(jsonb_build_array(o.bucket, o.path))
                    from (
                        select distinct e.bucket, case when not v_has_many then e.path end as path from removed as e
                    ) as o
                ),
                '[]'
            )
        );
    end if;
    return null;
end;
$$;

comment on function copperplate.note_cdn_purges() is
'An entry that is deleted is declared wrong, whoever deletes it, unless it is marked as aging: CDNs are to forget it.';
revoke all on function copperplate.note_cdn_purges() from public, anon, authenticated;
grant execute on function copperplate.note_cdn_purges() to service_role;

create trigger cache_entries_wrong_in_cdns
after delete on copperplate.cache_entries
referencing old table as removed
for each statement execute function copperplate.note_cdn_purges();

create trigger cache_entries_truncated_in_cdns
after truncate on copperplate.cache_entries
for each statement execute function copperplate.note_cdn_purges();

create function copperplate.due_cdn_scopes()
returns text[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return array(
        select s.scope
        from unnest(array['object', 'tag']) as s (scope)
        where exists (
            select from copperplate.cdn_purges as p where p.scope = s.scope and p.due_at <= copperplate.clock()
        )
    );
end;
$$;

comment on function copperplate.due_cdn_scopes() is 'The scopes of which a CDN purge is due.';
revoke all on function copperplate.due_cdn_scopes() from public, anon, authenticated;
grant execute on function copperplate.due_cdn_scopes() to service_role;

create function copperplate.forget_old_cdn_purges(p_limit integer)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    delete from copperplate.cdn_purges as p
    where p.id in (
        select o.id
        from copperplate.cdn_purges as o
        where
            o.due_at <= copperplate.clock()
            and o.declared_at < copperplate.clock() - case
                when o.seen_at is not null then interval '31 days' else interval '2 days'
            end
        limit p_limit
        for update skip locked
    );
$$;

comment on function copperplate.forget_old_cdn_purges(integer) is
'Forget at most p_limit purges that no process ever took in 2 days, as none has a CDN to tell: a cron takes them once a
day, and sweeps before it does. What was taken goes after 31 days, at last.';
revoke all on function copperplate.forget_old_cdn_purges(integer) from public, anon, authenticated;
grant execute on function copperplate.forget_old_cdn_purges(integer) to service_role;
