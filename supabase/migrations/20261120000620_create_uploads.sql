-- Objects about to be stored, and entries of those that are.

create function copperplate.add_usage(p_usage jsonb, p_more jsonb)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if p_more = '{}' then
        return p_usage;
    end if;
    return coalesce(jsonb_object_agg(summed.unit, summed.amount), '{}')
    from (
        select
            each.key as unit,
            sum(each.value::bigint) as amount
        from (
            select * from jsonb_each_text(p_usage)
            union all
            select * from jsonb_each_text(p_more)
        ) as each
        group by each.key
    ) as summed;
end;
$$;

comment on function copperplate.add_usage(jsonb, jsonb) is 'Two reports of a provider, added up unit by unit.';
revoke all on function copperplate.add_usage(jsonb, jsonb) from public, anon, authenticated;
grant execute on function copperplate.add_usage(jsonb, jsonb) to service_role;

create function public.intend_upload(
    p_key text,
    p_fence bigint,
    -- {path, digest, size_bytes, format, width, height, thumbhash, color, has_c2pa, is_ai_made}
    p_upload jsonb,
    p_usage jsonb,
    p_rendition_paths text[] default '{}',
    p_cost_micro_usd bigint default null
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_kind text;
    v_path text;
begin
    select g.kind, g.intent ->> 'path'
    into v_kind, v_path
    from public.generation_status as g
    where g.prompt_hash = p_key and g.fence = p_fence and g.status in ('pending', 'generating')
    for update;
    if not found then
        return false;
    end if;

    if v_path <> p_upload ->> 'path' then
        perform copperplate.discard_object(v_kind, v_path, p_key);
    end if;
    -- complete_generation takes them back; a successor makes renditions of its own.
    perform copperplate.discard_object(v_kind, r.path, p_key) from unnest(p_rendition_paths) as r (path);
    -- The picture is that of the newest submit; said twice, it is the same cost.
    perform copperplate.note_cost(p_key, p_cost_micro_usd);

    update public.generation_status as g
    set
        -- Pending until now: a picture that was given, and never submitted.
        status = 'generating',
        phase = 'uploading',
        decode_no = 0,
        intent = p_upload,
        -- Every submit leaves this phase: while it lasts, the picture is one that was counted.
        provider_usage = case
            when g.phase = 'uploading' then g.provider_usage
            else copperplate.add_usage(g.provider_usage, p_usage)
        end,
        updated_at = copperplate.clock()
    where g.prompt_hash = p_key;
    return true;
end;
$$;

comment on function public.intend_upload(text, bigint, jsonb, jsonb, text[], bigint) is
'Write ahead where the original is about to be stored, so that a successor can adopt it; and renditions beside it, which
are removed if they are not completed within the grace. A picture that is given is stored without a submit.
p_usage, what the provider reported to bill for it, is added up once a submit; p_cost_micro_usd is that in money.';
revoke all on function public.intend_upload(text, bigint, jsonb, jsonb, text[], bigint)
from public, anon, authenticated;
grant execute on function public.intend_upload(text, bigint, jsonb, jsonb, text[], bigint) to service_role;

create function copperplate.stored(p_key text)
returns copperplate.acquire_result
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v copperplate.acquire_result;
begin
    select
        e.kind, e.key, e.generation_key, e.path, e.digest, e.file_size, e.format, e.width, e.height, e.is_original,
        e.encoder_version, e.thumbhash, e.color, e.is_ai_made
    into
        v.kind, v.entry_key, v.generation_key, v.path, v.digest, v.file_size, v.format, v.width, v.height,
        v.is_original, v.encoder_version, v.thumbhash, v.color, v.is_ai_made
    from copperplate.cache_entries as e
    where e.key = p_key;
    if not found then
        return null;
    end if;
    v.outcome := 'hit';
    return v;
end;
$$;

comment on function copperplate.stored(text) is 'The entry with this key as a hit; null if there is none.';
revoke all on function copperplate.stored(text) from public, anon, authenticated;
grant execute on function copperplate.stored(text) to service_role;

create function copperplate.stale()
returns copperplate.acquire_result
language sql
immutable
security invoker
set search_path = ''
as $$
    select r.*
    from jsonb_populate_record(null::copperplate.acquire_result, '{"outcome": "stale"}') as r;
$$;

comment on function copperplate.stale() is 'The answer to a write whose fence is not the newest.';
revoke all on function copperplate.stale() from public, anon, authenticated;
grant execute on function copperplate.stale() to service_role;

create function copperplate.add_entry(
    p_key text, p_generation_key text, p_is_original boolean, p_is_shown boolean, p_upload jsonb
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    insert into copperplate.cache_entries (
        key, generation_key, kind, is_original, is_shown, bucket, path, digest, file_size, format, width, height,
        quality, is_sized, encoder_version, thumbhash, color, is_ai_made, has_c2pa, generation_ms,
        created_at, last_accessed_at
    )
    select
        p_key, p_generation_key, g.kind, p_is_original, p_is_shown, k.bucket, u.path, u.digest, u.size_bytes,
        u.format, u.width, u.height, u.quality, coalesce(u.is_sized, false), coalesce(u.encoder_version, 0),
        -- A rendition's placeholder is that of its original, and so is who made it.
        coalesce(u.thumbhash, o.thumbhash), coalesce(u.color, o.color), coalesce(u.is_ai_made, o.is_ai_made, true),
        case when p_is_original then coalesce(u.has_c2pa, false) end,
        case
            when p_is_original and g.submit_no > 0
                then extract(epoch from copperplate.clock() - g.started_at) * 1000
        end,
        copperplate.clock(), copperplate.clock()
    from public.generation_status as g
    inner join copperplate.kinds as k on g.kind = k.name
    cross join jsonb_to_record(p_upload) as u (
        path text, digest text, size_bytes bigint, format text, width integer, height integer, quality integer,
        is_sized boolean, encoder_version integer, thumbhash text, color text, is_ai_made boolean,
        has_c2pa boolean
    )
    left join copperplate.cache_entries as o on g.prompt_hash = o.generation_key and o.is_original
    where g.prompt_hash = p_generation_key
    on conflict (key) do nothing;
end;
$$;

comment on function copperplate.add_entry(text, text, boolean, boolean, jsonb) is
'Record a stored object of a generation; an entry that stands already stays.';
revoke all on function copperplate.add_entry(text, text, boolean, boolean, jsonb) from public, anon, authenticated;
grant execute on function copperplate.add_entry(text, text, boolean, boolean, jsonb) to service_role;

-- Where the generation is gone, so is its kind: noted in every bucket, as what is not there is as good as removed.
create function copperplate.discard_refused(p_generation_key text, p_path text)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    select copperplate.discard_object(k.name, p_path, p_generation_key)
    from copperplate.kinds as k
    where k.name = coalesce(
        (select g.kind from public.generation_status as g where g.prompt_hash = p_generation_key), k.name
    );
$$;

comment on function copperplate.discard_refused(text, text) is
'Note the object of a refused write for removal, in the bucket of its generation''s kind; in all where that is gone.';
revoke all on function copperplate.discard_refused(text, text) from public, anon, authenticated;
grant execute on function copperplate.discard_refused(text, text) to service_role;
