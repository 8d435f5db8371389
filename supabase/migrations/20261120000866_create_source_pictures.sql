-- Pictures that somebody brought to be processed, by the digest of their bytes as they came, and who had those bytes.
create table copperplate.source_pictures (
    digest text not null,
    format text not null,
    -- Upright, in px.
    width integer not null,
    height integer not null,
    size_bytes bigint not null,
    -- A clean copy in the store, for whoever processes it later. Nothing else names the object.
    kept_path text,
    kept_digest text,
    kept_format text,
    kept_at timestamptz,
    -- The generation whose picture it comes from: its very bytes, or a rectangle of it.
    parent_key text,
    -- What that generation was made from, told here so that lineage outlives it; null of one that was generated.
    parent_source text,
    relation text,
    -- Left, top, width and height of the rectangle, in px.
    crop integer[],
    created_at timestamptz not null,
    last_used_at timestamptz not null,
    constraint source_pictures_pkey primary key (digest),
    constraint source_pictures_digest_is_sha256 check (digest ~ '^[0-9a-f]{64}$'),
    constraint source_pictures_format_is_known check (format in ('jpg', 'png', 'webp', 'avif', 'gif')),
    constraint source_pictures_is_a_picture check (size_bytes > 0 and width > 0 and height > 0),
    constraint source_pictures_kept_is_whole check (
        num_nulls(kept_path, kept_digest, kept_format, kept_at) in (0, 4)
    ),
    constraint source_pictures_kept_path_is_dated_sha256
    check (kept_path ~ '^[0-9]{4}/[0-9]{2}/[0-9a-f]{64}[.](jpg|png|webp)$'),
    constraint source_pictures_kept_digest_is_sha256 check (kept_digest ~ '^[0-9a-f]{64}$'),
    constraint source_pictures_kept_format_is_known check (kept_format in ('jpg', 'png', 'webp')),
    constraint source_pictures_parent_is_sha256 check (parent_key ~ '^[0-9a-f]{64}$'),
    constraint source_pictures_parent_source_is_sha256 check (parent_source ~ '^[0-9a-f]{64}$'),
    constraint source_pictures_parent_has_relation check ((parent_key is null) = (relation is null)),
    constraint source_pictures_relation_is_known check (relation in ('same', 'cropped')),
    constraint source_pictures_cropped_has_rectangle check (
        (relation is not distinct from 'cropped') = (crop is not null)
    ),
    constraint source_pictures_crop_is_rectangle check (
        array_length(crop, 1) = 4 and array_position(crop, null) is null
        and crop[1] >= 0 and crop[2] >= 0 and crop[3] > 0 and crop[4] > 0
    )
) with (fillfactor = 80);

create index source_pictures_parent_idx on copperplate.source_pictures (parent_key) where parent_key is not null;
create index source_pictures_parent_source_idx
on copperplate.source_pictures (parent_source)
where parent_source is not null;
create index source_pictures_last_used_idx on copperplate.source_pictures (last_used_at);

comment on table copperplate.source_pictures is
'One row per picture that was brought to be processed, by the SHA-256 of its bytes as they came.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.source_pictures enable row level security;
revoke all on table copperplate.source_pictures from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.source_pictures to service_role;

create table copperplate.source_owners (
    digest text not null,
    -- As budgets name payers: key:<id> or user:<id>.
    owner text not null,
    created_at timestamptz not null,
    constraint source_owners_pkey primary key (digest, owner),
    constraint source_owners_digest_fkey foreign key (digest)
    references copperplate.source_pictures (digest) on delete cascade,
    constraint source_owners_owner_is_named check (owner ~ '^(key|user):.{1,100}$')
);

create index source_owners_owner_idx on copperplate.source_owners (owner);

comment on table copperplate.source_owners is
'Who had the bytes of a source picture: they alone are told where its results are.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.source_owners enable row level security;
revoke all on table copperplate.source_owners from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.source_owners to service_role;

create function copperplate.source_is_taken_down(p_digest text)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_digest text := p_digest;
    v_met text[] := array[]::text[];
    v_parent_key text;
begin
    -- By digests alone, so that it does not end at a generation that grew old. A circle ends where it meets itself.
    while v_digest is not null and v_digest <> all(v_met) loop
        if exists (select from copperplate.takedowns as t where t.generation_key = v_digest) then
            return true;
        end if;
        v_met := v_met || v_digest;
        select s.parent_key, s.parent_source
        into v_parent_key, v_digest
        from copperplate.source_pictures as s
        where s.digest = v_digest;
        if
            v_parent_key is not null
            and exists (select from copperplate.takedowns as t where t.generation_key = v_parent_key)
        then
            return true;
        end if;
    end loop;
    return false;
end;
$$;

comment on function copperplate.source_is_taken_down(text) is
'Whether there is a tombstone of a source picture, by its digest, or of any picture that it comes from.';
revoke all on function copperplate.source_is_taken_down(text) from public, anon, authenticated;
grant execute on function copperplate.source_is_taken_down(text) to service_role;

create function copperplate.owns_alone(p_digest text, p_owner text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(bool_and(o.owner = p_owner), false)
    from copperplate.source_owners as o
    where o.digest = p_digest;
$$;

comment on function copperplate.owns_alone(text, text) is
'Whether p_owner had the bytes of a source picture, and nobody else with a name.';
revoke all on function copperplate.owns_alone(text, text) from public, anon, authenticated;
grant execute on function copperplate.owns_alone(text, text) to service_role;

create function public.find_source(p_digest text, p_owner text default null)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'digest', s.digest, 'format', s.format, 'width', s.width, 'height', s.height, 'size_bytes', s.size_bytes,
        'parent_key', s.parent_key, 'crop', s.crop,
        'kept_path', s.kept_path, 'kept_digest', s.kept_digest, 'kept_format', s.kept_format,
        'is_owned', exists (
            select from copperplate.source_owners as o where o.digest = s.digest and o.owner = p_owner
        ),
        'is_owned_alone', copperplate.owns_alone(s.digest, p_owner),
        'is_taken_down', copperplate.source_is_taken_down(s.digest)
    )
    from copperplate.source_pictures as s
    where s.digest = p_digest;
$$;

comment on function public.find_source(text, text) is
'What is known of the source picture with that SHA-256, and whether p_owner had its bytes, alone or with others; null
where it is unknown.';
revoke all on function public.find_source(text, text) from public, anon, authenticated;
grant execute on function public.find_source(text, text) to service_role;

create function public.note_source(
    p_digest text,
    p_format text,
    p_width integer,
    p_height integer,
    p_size_bytes bigint,
    p_owner text default null,
    p_parent_key text default null,
    p_crop integer[] default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_is_new boolean;
    v_is_kept_long boolean;
    v_known jsonb;
begin
    perform copperplate.hold_lineage();
    perform copperplate.hold_user(jsonb_build_object('budgets', array[jsonb_build_object('name', p_owner)]));
    insert into copperplate.source_pictures as s (
        digest, format, width, height, size_bytes, created_at, last_used_at
    )
    values (p_digest, p_format, p_width, p_height, p_size_bytes, v_now, v_now)
    on conflict (digest) do update set last_used_at = excluded.last_used_at
    -- No transaction has changed a row that was just inserted. The store drops what is kept a day after it was stored,
    -- and a wish may wait for a day.
    returning s.xmax = 0, coalesce(s.kept_at < v_now - interval '30 minutes', false) into v_is_new, v_is_kept_long;
    perform copperplate.note_parent(
        p_digest, p_parent_key, p_crop, p_owner is not null and (v_is_new or copperplate.owns_alone(p_digest, p_owner))
    );
    if p_owner is not null and not copperplate.is_forgotten(p_owner) then
        insert into copperplate.source_owners (digest, owner, created_at)
        values (p_digest, p_owner, v_now)
        on conflict (digest, owner) do nothing;
        perform copperplate.forget_declared(p_digest, p_owner);
    end if;
    v_known := public.find_source(p_digest, p_owner);
    if v_is_kept_long or (v_known ->> 'is_taken_down')::boolean then
        v_known := v_known || '{"kept_path": null, "kept_digest": null, "kept_format": null}';
    end if;
    if (v_known ->> 'is_taken_down')::boolean then
        -- Its parent was taken down before it was known to be that.
        perform copperplate.remove_made_from(p_digest);
    end if;
    return v_known;
end;
$$;

comment on function public.note_source(text, text, integer, integer, bigint, text, text, integer[]) is
'Note a source picture, and that p_owner had its bytes; nobody for null, nor a user who was forgotten. Where no parent
is known yet, one is noted: the picture whose very bytes these are; a rectangle of p_parent_key only of bytes that nobody
but p_owner had, and until another owner brings them. Answers as find_source does, with a clean copy only if it outlives a wish that is made now.';
revoke all on function public.note_source(text, text, integer, integer, bigint, text, text, integer[])
from public, anon, authenticated;
grant execute on function public.note_source(text, text, integer, integer, bigint, text, text, integer[])
to service_role;

create function public.find_results(p_digest text)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(
        jsonb_agg(
            jsonb_build_object(
                'operation', g.recipe ->> 'operation', 'generation_key', g.prompt_hash, 'model', g.model,
                'parameters', g.recipe -> 'parameters', 'created_at', e.created_at
            )
            order by e.created_at desc, g.prompt_hash
        ),
        '[]'
    )
    from public.generation_status as g
    inner join copperplate.cache_entries as e on g.prompt_hash = e.generation_key and e.is_original
    where g.kind = 'processed' and g.recipe ->> 'source' = p_digest;
$$;

comment on function public.find_results(text) is
'Every stored result of the source picture with that SHA-256, the newest first: operation, generation_key, model,
parameters and created_at of each.';
revoke all on function public.find_results(text) from public, anon, authenticated;
grant execute on function public.find_results(text) to service_role;

create function public.may_see_processed(p_generation_key text, p_owner text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select exists (
        select
        from (
            select g.recipe
            from public.generation_status as g
            where g.prompt_hash = p_generation_key and g.kind = 'processed'
            union all
            -- Promised, and not begun yet.
            select w.recipe
            from copperplate.wishes as w
            where w.generation_key = p_generation_key and w.kind = 'processed' and w.status = 'open'
        ) as asked
        inner join copperplate.source_owners as o on asked.recipe ->> 'source' = o.digest
        where o.owner = p_owner
    );
$$;

comment on function public.may_see_processed(text, text) is
'Whether p_owner (key:<id> or user:<id>) had the bytes that this processed picture is made from.';
revoke all on function public.may_see_processed(text, text) from public, anon, authenticated;
grant execute on function public.may_see_processed(text, text) to service_role;
