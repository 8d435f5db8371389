-- Entries: one row per stored object, the original included.
create table copperplate.cache_entries (
    -- The rendition's key: SHA-256 of {generation, format, quality}.
    key text not null,
    generation_key text not null,
    kind text not null,
    is_original boolean not null,
    bucket text not null,
    path text not null,
    digest text not null,
    file_size bigint not null,
    format text not null,
    width integer not null,
    height integer not null,
    access_count bigint not null default 0,
    created_at timestamptz not null,
    last_accessed_at timestamptz not null,
    -- Since when it is kept for good; null while it may grow old.
    archived_at timestamptz,
    constraint cache_entries_pkey primary key (key),
    constraint cache_entries_generation_fkey foreign key (generation_key)
    references public.generation_status (prompt_hash) on delete cascade,
    -- One object belongs to exactly one row.
    constraint cache_entries_object_key unique (bucket, path),
    constraint cache_entries_key_is_sha256 check (key ~ '^[0-9a-f]{64}$'),
    constraint cache_entries_digest_is_sha256 check (digest ~ '^[0-9a-f]{64}$'),
    constraint cache_entries_path_is_dated_sha256
    check (path ~ '^[0-9]{4}/[0-9]{2}/[0-9a-f]{64}[.](jpg|png|webp|avif)$'),
    constraint cache_entries_format_is_known check (format in ('jpg', 'png', 'webp', 'avif')),
    constraint cache_entries_is_a_picture check (file_size > 0 and width > 0 and height > 0)
) with (fillfactor = 70);

create index cache_entries_generation_idx on copperplate.cache_entries (generation_key);
-- For the cleanup of a kind: an entry not served since a date was made before it. No index covers what hits change.
create index cache_entries_created_idx
on copperplate.cache_entries (kind, created_at)
where archived_at is null;
create unique index cache_entries_original_idx
on copperplate.cache_entries (generation_key)
where is_original;

comment on table copperplate.cache_entries is
'One row per stored object. Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.cache_entries enable row level security;
revoke all on table copperplate.cache_entries from public, anon, authenticated;
grant select, insert, update, delete on table copperplate.cache_entries to service_role;

-- An original that only backs its renditions is no picture of its own.
create view copperplate.shown_entries
with (security_invoker = true)
as
select e.*
from copperplate.cache_entries as e
inner join copperplate.kinds as k on e.kind = k.name and e.is_original = k.is_own_original;

comment on view copperplate.shown_entries is
'The entries that people are shown: counted as pictures, and listed in the view of their kind.';

revoke all on table copperplate.shown_entries from public, anon, authenticated, service_role;
grant select on table copperplate.shown_entries to service_role;

create function copperplate.note_entry_added()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    insert into copperplate.public_totals (day, kind, images, image_bytes, stored_bytes)
    select
        (copperplate.clock() at time zone 'UTC')::date,
        new.kind,
        case when new.is_original = k.is_own_original then 1 else 0 end,
        case when new.is_original = k.is_own_original then new.file_size else 0 end,
        new.file_size
    from copperplate.kinds as k
    where k.name = new.kind;
    return null;
end;
$$;

comment on function copperplate.note_entry_added() is 'Adds a new entry to the public totals.';
revoke all on function copperplate.note_entry_added() from public, anon, authenticated;
grant execute on function copperplate.note_entry_added() to service_role;

create function copperplate.note_entries_removed()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    insert into copperplate.discarded_objects (bucket, path, generation_key, discarded_at)
    select e.bucket, e.path, e.generation_key, copperplate.clock()
    from removed as e
    on conflict (bucket, path) do nothing;

    insert into copperplate.public_totals (day, kind, images, image_bytes, stored_bytes, accesses)
    select
        (copperplate.clock() at time zone 'UTC')::date,
        e.kind,
        -count(*) filter (where e.is_original = k.is_own_original),
        -coalesce(sum(e.file_size) filter (where e.is_original = k.is_own_original), 0),
        -sum(e.file_size),
        -sum(e.access_count)
    from removed as e
    inner join copperplate.kinds as k on e.kind = k.name
    group by e.kind;

    -- A completed generation has its original: if that alone is deleted, it is to be made anew.
    update public.generation_status as g
    set
        status = 'failed', phase = null, error_class = 'missing_object', error_message = 'the original was deleted',
        format = null, generated_url = null, retry_at = copperplate.clock(), completed_at = null,
        updated_at = copperplate.clock()
    from removed as e
    where e.is_original and g.prompt_hash = e.generation_key and g.status = 'completed';
    -- Who paid and was never told the address gets it back. Where the generation is gone too, its own trigger sees to
    -- that: of all that one deletion removes, reservations are locked before the first account.
    perform copperplate.note_pictures_gone(array(
        select e.generation_key
        from removed as e
        inner join public.generation_status as g on e.generation_key = g.prompt_hash
        where e.is_original
    ));
    return null;
end;
$$;

comment on function copperplate.note_entries_removed() is
'Queues the objects of removed entries for removal, subtracts them from the public totals, and gives back what was paid
for a picture whose address was never told.';
revoke all on function copperplate.note_entries_removed() from public, anon, authenticated;
grant execute on function copperplate.note_entries_removed() to service_role;

create trigger cache_entries_added
after insert on copperplate.cache_entries
for each row execute function copperplate.note_entry_added();

create trigger cache_entries_removed
after delete on copperplate.cache_entries
referencing old table as removed
for each statement execute function copperplate.note_entries_removed();

create function copperplate.note_generations_removed()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    -- What a leader was about to store belongs to nobody any more.
    perform copperplate.discard_object(g.kind, g.intent ->> 'path', g.prompt_hash)
    from removed as g
    where g.intent is not null;
    perform copperplate.note_pictures_gone(array(select g.prompt_hash from removed as g));
    -- What was booked stays: money may be out.
    perform copperplate.release_all_spending(
        array(select g.reserved from removed as g where g.reserved is not null)
    );
    return null;
end;
$$;

comment on function copperplate.note_generations_removed() is
'Queues the objects that removed generations were about to store for removal, and gives back what these held.';
revoke all on function copperplate.note_generations_removed() from public, anon, authenticated;
grant execute on function copperplate.note_generations_removed() to service_role;

create trigger generation_status_removed
after delete on public.generation_status
referencing old table as removed
for each statement execute function copperplate.note_generations_removed();
