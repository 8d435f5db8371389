-- Entries: one row per stored object, the original included.
create table copperplate.cache_entries (
    -- The rendition's key: SHA-256 of {generation, format, quality, width, height}.
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
    -- Of a rendition; null where its format has none.
    quality integer,
    -- Smaller than the canvas, or cut out of it.
    is_sized boolean not null default false,
    -- A row of image_cache or memoji_cache, and counted as a picture: the original of kinds that show theirs; of others
    -- one rendition a format, the standard one (whole, quality 85) if it is kept, else the first that was.
    is_shown boolean not null default false,
    -- Of the encoders that made a rendition; an older one is made again when it is asked for. 0 of an original.
    encoder_version integer not null default 0,
    -- What stands in its place until it has come: ThumbHash in base64, and a colour as #rrggbb; '' for none.
    thumbhash text,
    color text,
    -- Whether a model made it; false of an imported picture of which nobody says so: its renditions have no label.
    is_ai_made boolean not null default true,
    -- Of an original: whether the provider signed its origin (C2PA), and how long it took from its first submit on.
    has_c2pa boolean,
    generation_ms bigint,
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
    constraint cache_entries_quality_is_percent check (quality between 1 and 100),
    constraint cache_entries_original_is_whole check (not is_original or (quality is null and not is_sized)),
    constraint cache_entries_thumbhash_has_color check ((coalesce(thumbhash, '') = '') = (color is null)),
    constraint cache_entries_thumbhash_is_short check (thumbhash = '' or length(thumbhash) between 4 and 100),
    constraint cache_entries_color_is_hex check (color ~ '^#[0-9a-f]{6}$'),
    constraint cache_entries_is_a_picture check (file_size > 0 and width > 0 and height > 0)
) with (fillfactor = 70);

create index cache_entries_generation_idx on copperplate.cache_entries (generation_key);
-- Whose bytes somebody brings as a file: any form's. Hashed, a digest takes a third of what it does in a tree.
create index cache_entries_digest_idx on copperplate.cache_entries using hash (digest);
-- For the cleanup of a kind: an entry not served since a date was made before it. No index covers what hits change.
create index cache_entries_created_idx
on copperplate.cache_entries (kind, created_at)
where archived_at is null;
create unique index cache_entries_original_idx
on copperplate.cache_entries (generation_key)
where is_original;
-- For the placeholders that are still to be made: nearly empty.
create index cache_entries_without_placeholder_idx
on copperplate.cache_entries (key)
where is_original and thumbhash is null;
-- Of the forms in one format people are shown one.
create unique index cache_entries_shown_idx
on copperplate.cache_entries (generation_key, format)
where is_shown;

comment on table copperplate.cache_entries is
'One row per stored object. Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.cache_entries enable row level security;
revoke all on table copperplate.cache_entries from public, anon, authenticated;
grant select, insert, update, delete on table copperplate.cache_entries to service_role;

-- An original that only backs its renditions is no picture of its own.
create view copperplate.shown_entries
with (security_invoker = true)
as
select *
from copperplate.cache_entries
where is_shown;

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
    values (
        (copperplate.clock() at time zone 'UTC')::date,
        new.kind,
        new.is_shown::integer,
        case when new.is_shown then new.file_size else 0 end,
        new.file_size
    );
    return null;
end;
$$;

comment on function copperplate.note_entry_added() is 'Adds a new entry to the public totals.';
revoke all on function copperplate.note_entry_added() from public, anon, authenticated;
grant execute on function copperplate.note_entry_added() to service_role;

create function copperplate.promote_entries(p_generation_keys text[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if p_generation_keys = '{}' then
        return;
    end if;
    with promoted as (
        update copperplate.cache_entries as e
        set is_shown = true
        where e.key in (
            select distinct on (r.generation_key, r.format) r.key
            from copperplate.cache_entries as r
            where
                r.generation_key = any(p_generation_keys) and not r.is_original
                and not exists (
                    select from copperplate.cache_entries as s
                    where s.generation_key = r.generation_key and s.format = r.format and s.is_shown
                )
            order by r.generation_key, r.format, r.created_at, r.key
        )
        returning e.kind, e.file_size
    )

    insert into copperplate.public_totals (day, kind, images, image_bytes)
    select
        (copperplate.clock() at time zone 'UTC')::date,
        p.kind,
        count(*),
        sum(p.file_size)
    from promoted as p
    group by p.kind;
end;
$$;

comment on function copperplate.promote_entries(text[]) is
'Where the shown form of a format went alone, the first of its other forms is shown in its place.';
revoke all on function copperplate.promote_entries(text[]) from public, anon, authenticated;
grant execute on function copperplate.promote_entries(text[]) to service_role;

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
        -count(*) filter (where e.is_shown),
        -coalesce(sum(e.file_size) filter (where e.is_shown), 0),
        -sum(e.file_size),
        -sum(e.access_count)
    from removed as e
    group by e.kind;
    perform copperplate.promote_entries(
        array(select distinct e.generation_key from removed as e where e.is_shown and not e.is_original)
    );

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
