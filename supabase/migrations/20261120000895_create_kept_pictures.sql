-- Kept pictures by any of their names, and the placeholders of those that have none yet.

create function public.find_kept(p_id text)
returns table (
    kind text,
    generation_key text,
    model text,
    dimensions text,
    key text,
    format text,
    quality integer,
    width integer,
    height integer,
    is_original boolean,
    is_sized boolean
)
language sql
stable
security invoker
set search_path = ''
as $$
    select
        e.kind, e.generation_key, g.model, g.dimensions, e.key, e.format, e.quality, e.width, e.height, e.is_original,
        e.is_sized
    from (
        select c.*
        from copperplate.cache_entries as c
        where c.key = p_id
        union all
        select c.*
        from copperplate.cache_entries as c
        where c.generation_key = p_id and c.is_original
        union all
        select c.*
        from copperplate.kinds as k
        inner join copperplate.cache_entries as c
            on
                k.bucket = c.bucket
                and c.path = case
                    when starts_with(p_id, k.bucket || '/') then substr(p_id, length(k.bucket) + 2) else p_id
                end
    ) as e
    inner join public.generation_status as g on e.generation_key = g.prompt_hash
    limit 1;
$$;

comment on function public.find_kept(text) is
'The kept picture of that id: the key of a rendition or of a generation, or [bucket/]YYYY/MM/name; no row where there is
none.';
revoke all on function public.find_kept(text) from public, anon, authenticated;
grant execute on function public.find_kept(text) to service_role;

create function public.describe_kept(p_generation_key text)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'generation_key', g.prompt_hash, 'kind', g.kind, 'model', g.model, 'dimensions', g.dimensions,
        'created_at', o.created_at, 'generation_ms', o.generation_ms, 'has_c2pa', o.has_c2pa,
        'is_ai_made', o.is_ai_made,
        'thumbhash', o.thumbhash, 'color', o.color,
        'entries', (
            select jsonb_agg(
                jsonb_build_object(
                    'key', e.key, 'path', e.path, 'format', e.format, 'width', e.width, 'height', e.height,
                    'quality', e.quality, 'size_bytes', e.file_size, 'is_original', e.is_original,
                    'is_sized', e.is_sized
                )
                order by e.is_original desc, e.format, e.width, e.quality, e.key
            )
            from copperplate.cache_entries as e
            where e.generation_key = g.prompt_hash
        )
    )
    from public.generation_status as g
    inner join copperplate.cache_entries as o on g.prompt_hash = o.generation_key and o.is_original
    where g.prompt_hash = p_generation_key;
$$;

comment on function public.describe_kept(text) is
'What is known of a kept picture and of all its forms; null where it is not kept.';
revoke all on function public.describe_kept(text) from public, anon, authenticated;
grant execute on function public.describe_kept(text) to service_role;

create function public.originals_without_placeholder(p_limit integer, p_after text default '')
returns setof copperplate.acquire_result
language sql
stable
security invoker
set search_path = ''
as $$
    select s.*
    from (
        select e.key
        from copperplate.cache_entries as e
        where e.is_original and e.thumbhash is null and e.key > p_after
        order by e.key
        limit p_limit
    ) as o
    cross join lateral copperplate.stored(o.key) as s;
$$;

comment on function public.originals_without_placeholder(integer, text) is
'At most p_limit originals whose placeholder is not known, in the order of their keys, after p_after.';
revoke all on function public.originals_without_placeholder(integer, text) from public, anon, authenticated;
grant execute on function public.originals_without_placeholder(integer, text) to service_role;

create function public.count_without_placeholder()
returns bigint
language sql
stable
security invoker
set search_path = ''
as $$
    select count(*) from copperplate.cache_entries as e where e.is_original and e.thumbhash is null;
$$;

comment on function public.count_without_placeholder() is
'How many originals there are whose placeholder is not known.';
revoke all on function public.count_without_placeholder() from public, anon, authenticated;
grant execute on function public.count_without_placeholder() to service_role;

create function public.set_placeholder(p_generation_key text, p_thumbhash text, p_color text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform from public.generation_status as g where g.prompt_hash = p_generation_key for no key update;
    -- A picture that was made again meanwhile has its own.
    update copperplate.cache_entries as e
    set thumbhash = p_thumbhash, color = p_color
    where e.generation_key = p_generation_key and e.thumbhash is null;
    return found;
end;
$$;

comment on function public.set_placeholder(text, text, text) is
'Note the placeholder of a kept picture that has none, on all its forms: its ThumbHash in base64 and its dominant colour
as #rrggbb; an empty ThumbHash without a colour where none can be made. False where none of it is kept, or it has one.';
revoke all on function public.set_placeholder(text, text, text) from public, anon, authenticated;
grant execute on function public.set_placeholder(text, text, text) to service_role;
