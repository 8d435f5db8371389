-- Keys in SQL: the same text, the same bytes and the same hashes as the Python package `recipes`.
-- Needs a UTF-8 database; the answers depend on no collation and no setting.
-- ZC001: what was given cannot be made into a key. No message repeats a prompt.

create function public.cache_key(p_recipe jsonb)
returns text
language plpgsql
immutable
parallel safe
security invoker
set search_path = ''
as $$
declare
    v_members text;
    v_bad_name text;
begin
    if jsonb_typeof(p_recipe -> 'v') is distinct from 'number'
        or jsonb_typeof(p_recipe -> 'kind') is distinct from 'string'
    then
        raise exception using
            errcode = 'ZC001',
            message = 'This is not a canonical recipe: "v" or "kind" is missing.',
            hint = 'Give an object with "v", a whole number, and "kind", a string.';
    end if;

    select
        string_agg(to_json(m.name)::text || ':' || m.canonical, ',' order by m.name),
        min(m.name) filter (where m.canonical is null)
    into v_members, v_bad_name
    from (
        select
            f.key collate "C" as name,
            -- jsonb prints a string as to_json(text) does: the escapes of Python's json and no more
            case when octet_length(f.key) = length(f.key) then case jsonb_typeof(f.value)  -- ASCII
                when 'string' then f.value::text
                when 'boolean' then f.value::text
                when 'number' then
                    case when f.value::text ~ '^-?[0-9]{1,16}$' and abs(f.value::bigint) < 9007199254740992
                        then f.value::text
                    end
                when 'array' then (
                    -- elements come in their order; asking for it would double the time
                    select '[' || coalesce(string_agg(i.item::text, ','), '') || ']'
                    from jsonb_array_elements(f.value) as i (item)
                    having bool_and(jsonb_typeof(i.item) = 'string') is not false
                )
            end end as canonical
        from jsonb_each(p_recipe) as f
        offset 0  -- keeps the planner from computing each member twice
    ) as m;

    if v_bad_name is not null then
        raise exception using
            errcode = 'ZC001',
            message = format('This is not a canonical recipe: member %s.', to_json(left(v_bad_name, 40))),
            hint = 'Names are ASCII. Values are strings, booleans, whole numbers below 2^53 and arrays '
                || 'of strings; write decimals as strings and leave out what is null.';
    end if;

    return encode(sha256(convert_to('{' || v_members || '}', 'UTF8')), 'hex');
end
$$;

comment on function public.cache_key(jsonb) is
'The key of a canonical recipe: SHA-256 in 64 hexadecimal digits.

Hashes the recipe as compact JSON in UTF-8 with its members sorted by code point; normalises nothing.
Raises ZC001 for anything that is not a canonical recipe.';

revoke all on function public.cache_key(jsonb) from public, anon, authenticated;
grant execute on function public.cache_key(jsonb) to service_role;


create function copperplate.fold_text(p_text text)
returns text
language plpgsql
immutable
parallel safe
security invoker
set search_path = ''
as $$
declare
    v_folded text;
begin
    -- The regular expressions name every code point and use "C": no locale has a say in them.
    if length(p_text) > 20000 then
        raise exception using
            errcode = 'ZC001',
            message = format('The text has %s characters.', length(p_text)),
            hint = 'Shorten it to 1000.';
    end if;
    if p_text collate "C" ~ '[\u0001-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f]' then
        raise exception using
            errcode = 'ZC001',
            message = 'The text holds a control character.',
            hint = 'Remove it; spaces, tabs and line breaks are fine.';
    end if;
    -- PostgreSQL 15's normalize() swallows U+11A7 after a Hangul syllable (18's does not). It composes
    -- with nothing, so the text may be normalised on either side of it.
    select string_agg(normalize(s.part, nfc), e'\u11a7' order by s.position)
    into v_folded
    from string_to_table(p_text, e'\u11a7') with ordinality as s (part, position);

    v_folded := btrim(
        regexp_replace(
            v_folded collate "C",
            '[\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+',
            ' ',
            'g'
        ),
        ' '
    );
    if v_folded is null or length(v_folded) not between 1 and 1000 then
        raise exception using
            errcode = 'ZC001',
            message = format('The text has %s characters.', coalesce(length(v_folded), 0)),
            hint = 'Describe the picture in 1 to 1000 characters.';
    end if;
    return v_folded;
end
$$;

comment on function copperplate.fold_text(text) is
'A prompt in its one spelling: NFC, runs of white space as one space, trimmed; letter case is kept.

The answer has 1 to 1000 characters. Raises ZC001 for control characters and for texts that are empty
or too long.';

revoke all on function copperplate.fold_text(text) from public, anon, authenticated;
grant execute on function copperplate.fold_text(text) to service_role;


create function public.image_cache_key(
    p_prompt text,
    p_width integer,
    p_height integer,
    p_model text default 'fal-ai/flux/schnell',
    p_seed text default '',
    p_settings text[] default null
)
returns text
language plpgsql
immutable
parallel safe
security invoker
set search_path = ''
as $$
declare
    v_settings text[] := coalesce(p_settings, case p_model
        when 'fal-ai/flux/schnell' then array['enable_safety_checker=true', 'num_inference_steps=4']
        else array[]::text[]
    end);
    v_seed text := case p_seed when '' then '' else coalesce(nullif(ltrim(p_seed, '0'), ''), '0') end;
    v_fault text := case
        when (p_width between 64 and 2048 and p_height between 64 and 2048) is not true
            then 'Width and height are 64 to 2048 pixels.'
        when (p_model collate "C" ~ '^[!-~]{1,200}$') is not true
            then 'A model''s name has 1 to 200 ASCII characters and no spaces.'
        when (p_seed collate "C" ~ '^[0-9]*$' and length(p_seed) <= 1000 and length(v_seed) <= 20
            and lpad(v_seed, 20, '0') collate "C" <= '18446744073709551615') is not true
            then 'A seed is empty or a whole number from 0 to 18446744073709551615 in plain digits.'
    end;
begin
    -- sorted, each once; a name that stays twice, or is no name, counts as a fault
    select
        coalesce(array_agg(distinct s.setting collate "C" order by s.setting collate "C"), '{}'),
        case when count(distinct s.setting) <> count(distinct substring(s.setting from '^([a-z][a-z0-9_]*)=[ -~]*$'))
            or bool_or(s.setting is null)
            then 'Settings are name=value in ASCII, and name nothing twice.'
            else v_fault
        end
    into v_settings, v_fault
    from unnest(v_settings) as s (setting);

    if v_fault is not null then
        raise exception using errcode = 'ZC001', message = v_fault, hint = 'See docs/keys.md.';
    end if;
    return public.cache_key(jsonb_build_object(
        'v', 1, 'kind', 'image', 'prompt', copperplate.fold_text(p_prompt), 'width', p_width,
        'height', p_height, 'model', p_model, 'seed', v_seed, 'settings', to_jsonb(v_settings)
    ));
end
$$;

comment on function public.image_cache_key(text, integer, integer, text, text, text[]) is
'The generation key of a picture: generation_status.prompt_hash, image_cache.generation_hash.

Normalises like GET /{width}x{height}.{format}?text=...; sizes in pixels. Settings that are null are the
model''s standard ones. Raises ZC001 for what that request would refuse.';

revoke all on function public.image_cache_key(text, integer, integer, text, text, text[])
from public, anon, authenticated;
grant execute on function public.image_cache_key(text, integer, integer, text, text, text[])
to service_role;


-- Without a width and a height it is the whole canvas.
create function public.rendition_cache_key(
    p_generation_key text,
    p_format text,
    p_quality integer default 85,
    p_width integer default null,
    p_height integer default null
)
returns text
language plpgsql
immutable
parallel safe
security invoker
set search_path = ''
as $$
declare
    v_format text := case p_format when 'jpeg' then 'jpg' else p_format end;
    v_recipe jsonb := jsonb_build_object(
        'v', 1, 'kind', 'rendition', 'generation', p_generation_key, 'format', v_format
    );
begin
    if (p_generation_key collate "C" ~ '^[0-9a-f]{64}$') is not true
        or (v_format in ('jpg', 'png', 'webp', 'avif', 'original')) is not true
        or (v_format in ('png', 'original') or p_quality between 1 and 100) is not true
        or (p_width is null) <> (p_height is null) or p_width < 1 or p_height < 1
        or (v_format = 'original' and p_width is not null)
    then
        raise exception using
            errcode = 'ZC001',
            message = 'There is no such rendition.',
            hint = 'Give a generation key (64 hexadecimal digits), jpg, jpeg, png, webp, avif or original, '
                || 'a quality from 1 to 100, and both or none of width and height, in pixels.';
    end if;
    -- png and the original have no quality: a field that changes no byte is in no recipe
    return public.cache_key(
        v_recipe
        || case when v_format in ('png', 'original') then '{}' else jsonb_build_object('quality', p_quality) end
        || case when p_width is null then '{}' else jsonb_build_object('width', p_width, 'height', p_height) end
    );
end
$$;

comment on function public.rendition_cache_key(text, text, integer, integer, integer) is
'The key of one rendition of a generation: image_cache.prompt_hash.

Formats are jpg (or jpeg), png, webp, avif, and original for the bytes as the provider made them. Quality is 1 to 100 and
counts for all but png and original. Width and height are those of the output, after the rungs. Raises ZC001 for anything else.';

revoke all on function public.rendition_cache_key(text, text, integer, integer, integer)
from public, anon, authenticated;
grant execute on function public.rendition_cache_key(text, text, integer, integer, integer)
to service_role;
