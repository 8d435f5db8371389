-- Keys of processed pictures: the same as the Python module `recipes.processed` gives.

create function public.processed_cache_key(
    p_source text,
    p_operation text,
    p_model text,
    p_parameters text[] default '{}',
    p_settings text[] default '{}'
)
returns text
language plpgsql
immutable
parallel safe
security invoker
set search_path = ''
as $$
declare
    v_parameters text[];
    v_settings text[];
    v_is_good boolean;
begin
    -- Sorted, each once; nothing is named twice, neither by one list nor by both.
    select
        coalesce(array_agg(distinct s.spelled order by s.spelled) filter (where not s.is_setting), '{}'),
        coalesce(array_agg(distinct s.spelled order by s.spelled) filter (where s.is_setting), '{}'),
        count(distinct s.spelled) = count(distinct substring(s.spelled from '^([a-z][a-z0-9_]*)=[ -~]*$'))
        and bool_or(s.spelled is null) is not true
        -- Zero has one spelling, as in Python.
        and bool_or(s.spelled ~ '=-[0.]+$') is not true
    into v_parameters, v_settings, v_is_good
    from (
        select p.spelled collate "C" as spelled, false as is_setting from unnest(p_parameters) as p (spelled)
        union all
        select p.spelled collate "C", true from unnest(p_settings) as p (spelled)
    ) as s;
    if (
        v_is_good and p_model collate "C" ~ '^[!-~]{1,200}$' and p_source collate "C" ~ '^[0-9a-fA-F]{64}$'
        and p_operation in ('remove-background', 'upscale', 'face-detail')
    ) is not true
    then
        raise exception using
            errcode = 'ZC001',
            message = 'This names no processed picture.',
            hint = 'A source is a SHA-256 in 64 hexadecimal digits, an operation remove-background, upscale or '
                || 'face-detail, a model''s name 1 to 200 ASCII characters without spaces; parameters and settings are '
                || 'name=value, in one spelling (0, never -0), and name nothing twice. See docs/keys.md.';
    end if;
    return public.cache_key(jsonb_build_object(
        'v', 1, 'kind', 'processed', 'source', translate(p_source, 'ABCDEF', 'abcdef'), 'operation', p_operation,
        'model', p_model, 'parameters', to_jsonb(v_parameters), 'settings', to_jsonb(v_settings)
    ));
end
$$;

comment on function public.processed_cache_key(text, text, text, text[], text[]) is
'The key of a processed picture: processed_image_cache.generation_hash.

p_source is the SHA-256 of the source picture''s bytes as they came; p_parameters has every parameter of the model, also
those left at their defaults, as name=value in their one spelling. Raises ZC001 for what names no processed picture.';
revoke all on function public.processed_cache_key(text, text, text, text[], text[]) from public, anon, authenticated;
grant execute on function public.processed_cache_key(text, text, text, text[], text[]) to service_role;
