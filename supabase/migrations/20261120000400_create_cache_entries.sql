-- Entries, the objects nobody needs any more, public totals, and the view people know.

-- Totals that anyone may see: no prompts, no money. Writers only ever insert, so no row is hot;
-- copperplate.fold_totals() merges the rows of a day now and then. Readers add up.
create table copperplate.public_totals (
    day date not null,
    kind text not null,
    requests bigint not null default 0,
    api_calls bigint not null default 0,
    hits bigint not null default 0,
    misses bigint not null default 0,
    -- Of hits and misses: served without a call of their own.
    saved bigint not null default 0,
    failures bigint not null default 0,
    completed bigint not null default 0,
    accesses bigint not null default 0,
    images bigint not null default 0,
    image_bytes bigint not null default 0,
    stored_bytes bigint not null default 0
);

comment on table copperplate.public_totals is
'Sums by day (UTC) and kind, to be added up by the reader. Anyone may read it: the statistics are public.';

alter table copperplate.public_totals enable row level security;
revoke all on table copperplate.public_totals from public, anon, authenticated;
grant select on table copperplate.public_totals to anon, authenticated;
grant select, insert, update, delete on table copperplate.public_totals to service_role;

create policy public_totals_are_public
on copperplate.public_totals
for select
to anon, authenticated
using (true);

-- One row per stored object, the original included.
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
    constraint cache_entries_path_is_dated_sha256 check (path ~ '^[0-9]{4}/[0-9]{2}/[0-9a-f]{64}[.](jpg|png|webp)$'),
    constraint cache_entries_format_is_known check (format in ('jpg', 'png', 'webp')),
    constraint cache_entries_is_a_picture check (file_size > 0 and width > 0 and height > 0)
) with (fillfactor = 70);

create index cache_entries_generation_idx on copperplate.cache_entries (generation_key);
-- For the cleanup: an entry not served since a date was made before it. No index covers what hits change.
create index cache_entries_created_idx on copperplate.cache_entries (created_at);
create unique index cache_entries_original_idx
on copperplate.cache_entries (generation_key)
where is_original;
-- For the memoji's cleanup, which would otherwise read every picture there is.
create index cache_entries_memoji_idx
on copperplate.cache_entries (created_at)
where kind = 'memoji' and archived_at is null;

comment on table copperplate.cache_entries is
'One row per stored object. Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.cache_entries enable row level security;
revoke all on table copperplate.cache_entries from public, anon, authenticated;
grant select, insert, update, delete on table copperplate.cache_entries to service_role;

-- Objects that no row needs any more, until the store has removed them. However an entry goes
-- (cleanup, purge, a person's DELETE, a cascade), its object lands here.
create table copperplate.discarded_objects (
    id bigint generated always as identity,
    bucket text not null,
    path text not null,
    generation_key text not null,
    -- The grace runs from here: a reader that has just looked the path up may still fetch it.
    discarded_at timestamptz not null,
    claimed_until timestamptz,
    constraint discarded_objects_pkey primary key (id),
    constraint discarded_objects_object_key unique (bucket, path)
);

comment on table copperplate.discarded_objects is
'Objects to remove from the store after their grace. Row-level security is on without a policy.';

alter table copperplate.discarded_objects enable row level security;
revoke all on table copperplate.discarded_objects from public, anon, authenticated;
grant select, insert, update, delete on table copperplate.discarded_objects to service_role;

-- Objects live in the bucket of their kind.
create function copperplate.bucket_of(p_kind text)
returns text
language sql
immutable
security invoker
set search_path = ''
as $$
    select case p_kind when 'image' then 'generated-images' when 'memoji' then 'memoji-images' end;
$$;

comment on function copperplate.bucket_of(text) is 'The Storage bucket of a kind of picture; null for an unknown one.';
revoke all on function copperplate.bucket_of(text) from public, anon, authenticated;
grant execute on function copperplate.bucket_of(text) to service_role;

create function copperplate.discard_object(p_kind text, p_path text, p_generation_key text)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    insert into copperplate.discarded_objects (bucket, path, generation_key, discarded_at)
    select copperplate.bucket_of(p_kind), p_path, p_generation_key, copperplate.clock()
    where p_path is not null
    on conflict (bucket, path) do nothing;
$$;

comment on function copperplate.discard_object(text, text, text) is
'Note an object for removal after its grace; a null path or a repeat changes nothing.';
revoke all on function copperplate.discard_object(text, text, text) from public, anon, authenticated;
grant execute on function copperplate.discard_object(text, text, text) to service_role;

-- An image is shown as its renditions, which its original backs; a memoji is its original.
create function copperplate.is_shown(p_entry copperplate.cache_entries)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select p_entry.is_original = (p_entry.kind = 'memoji');
$$;

comment on function copperplate.is_shown(copperplate.cache_entries) is
'Whether people are shown this entry: counted as a picture, and listed in its kind''s view.';
revoke all on function copperplate.is_shown(copperplate.cache_entries) from public, anon, authenticated;
grant execute on function copperplate.is_shown(copperplate.cache_entries) to service_role;

create function copperplate.note_entries_added()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    insert into copperplate.public_totals (day, kind, images, image_bytes, stored_bytes)
    select
        (copperplate.clock() at time zone 'UTC')::date,
        e.kind,
        count(*) filter (where copperplate.is_shown(e)),
        coalesce(sum(e.file_size) filter (where copperplate.is_shown(e)), 0),
        coalesce(sum(e.file_size), 0)
    from added as e
    group by e.kind;
    return null;
end;
$$;

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
        -count(*) filter (where copperplate.is_shown(e)),
        -coalesce(sum(e.file_size) filter (where copperplate.is_shown(e)), 0),
        -coalesce(sum(e.file_size), 0),
        -coalesce(sum(e.access_count), 0)
    from removed as e
    group by e.kind;

    -- A completed generation has its original: if somebody deletes that alone, it is to be made anew.
    update public.generation_status as g
    set
        status = 'failed', phase = null, error_class = 'missing_object', error_message = 'the original was deleted',
        format = null, generated_url = null, retry_at = copperplate.clock(), completed_at = null,
        updated_at = copperplate.clock()
    from removed as e
    where e.is_original and g.prompt_hash = e.generation_key and g.status = 'completed';
    -- Whoever paid and was never told where it is gets it back. Where the generation is gone too, its own trigger sees to
    -- that: of all that one deletion takes away, reservations are locked before the first account.
    perform copperplate.note_pictures_gone(array(
        select e.generation_key
        from removed as e
        inner join public.generation_status as g on e.generation_key = g.prompt_hash
        where e.is_original
    ));
    return null;
end;
$$;

comment on function copperplate.note_entries_added() is 'Adds new entries to the public totals.';
comment on function copperplate.note_entries_removed() is
'Queues the objects of removed entries for removal, takes them out of the public totals, and gives back what was paid
for a picture that nobody was told of.';
revoke all on function copperplate.note_entries_added() from public, anon, authenticated;
revoke all on function copperplate.note_entries_removed() from public, anon, authenticated;
grant execute on function copperplate.note_entries_added() to service_role;
grant execute on function copperplate.note_entries_removed() to service_role;

create trigger cache_entries_added
after insert on copperplate.cache_entries
referencing new table as added
for each statement execute function copperplate.note_entries_added();

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

-- What people know. Originals are not listed: they back the pictures that are.
create view public.image_cache
with (security_invoker = true)
as
select
    e.key as prompt_hash,
    e.generation_key as generation_hash,
    g.prompt,
    g.dimensions,
    e.format,
    g.model,
    e.access_count,
    e.created_at,
    e.last_accessed_at,
    e.file_size,
    e.path as object_path,
    e.digest
from copperplate.cache_entries as e
inner join public.generation_status as g on e.generation_key = g.prompt_hash
where e.kind = 'image' and not e.is_original;

comment on view public.image_cache is
'Cached pictures, one row per prompt, size and format.
Deleting a row declares the picture wrong: its generation, every format of it and its original go.';

revoke all on table public.image_cache from public, anon, authenticated, service_role;
grant select, delete on table public.image_cache to service_role;

create function copperplate.delete_picture()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    -- The row goes, and with it every lease on it: the next holder's fence is higher whatever happens.
    -- A view names its generation's key generation_hash, unless that is the key people know.
    delete from public.generation_status as g
    where g.prompt_hash = coalesce(to_jsonb(old) ->> 'generation_hash', to_jsonb(old) ->> 'prompt_hash');
    return old;
end;
$$;

comment on function copperplate.delete_picture() is 'Makes DELETE through a view remove the whole generation.';
revoke all on function copperplate.delete_picture() from public, anon, authenticated;
grant execute on function copperplate.delete_picture() to service_role;

create trigger image_cache_delete
instead of delete on public.image_cache
for each row execute function copperplate.delete_picture();
