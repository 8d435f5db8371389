-- The memoji's key in SQL: the same wishes, the same keys, the same refusals as the Python module `recipes.memoji`.

create function copperplate.memoji_words(p_field text)
returns text[]
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
    select case p_field
        when 'familyType' then array[
            'father', 'mother', 'son', 'daughter', 'brother', 'sister', 'grandfather',
            'grandmother', 'uncle', 'aunt', 'baby', 'person'
        ]
        when 'gesture' then array[
            'wave', 'thumbs-up', 'peace', 'heart', 'clap', 'point', 'ok', 'fist-bump', 'flex',
            'think', 'none'
        ]
        when 'hair' then array[
            'short', 'long', 'curly', 'wavy', 'bob', 'pixie', 'ponytail', 'bun', 'braids', 'afro',
            'locs', 'spiky', 'buzz', 'bald'
        ]
        when 'skinTone' then array[
            'light', 'medium-light', 'medium', 'medium-dark', 'dark'
        ]
        when 'accessories' then array[
            'glasses', 'sunglasses', 'hat', 'cap', 'beanie', 'crown', 'headband', 'headphones',
            'earrings', 'necklace', 'scarf', 'bow-tie', 'flower', 'freckles', 'moustache', 'beard'
        ]
        when 'colorTheme' then array[
            'pastel-blue', 'pastel-pink', 'pastel-green', 'pastel-yellow', 'pastel-purple',
            'pastel-peach', 'mint', 'coral', 'ocean', 'forest', 'sunset', 'midnight', 'monochrome'
        ]
        when 'background' then array[
            'auto', 'opaque', 'transparent'
        ]
    end;
$$;

comment on function copperplate.memoji_words(text) is
'The words a field of a memoji''s configuration may be; null for a field that takes none.';
revoke all on function copperplate.memoji_words(text) from public, anon, authenticated;
grant execute on function copperplate.memoji_words(text) to service_role;

create function copperplate.spell_word(p_word text)
returns text
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
    select translate(
        copperplate.fold_text(p_word), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ _', 'abcdefghijklmnopqrstuvwxyz--'
    );
$$;

comment on function copperplate.spell_word(text) is
'The one spelling of a word: folded like a prompt, A to Z in lower case, words joined by hyphens.
Raises ZC001 for what is no text.';
revoke all on function copperplate.spell_word(text) from public, anon, authenticated;
grant execute on function copperplate.spell_word(text) to service_role;

create function copperplate.memoji_word(p_configuration jsonb, p_field text, p_default text)
returns text
language plpgsql
immutable
parallel safe
security invoker
set search_path = ''
as $$
declare
    v_value jsonb := coalesce(p_configuration -> p_field, 'null');
    v_word text;
begin
    if v_value = 'null' then
        return p_default;
    end if;
    if jsonb_typeof(v_value) = 'string' then
        v_word := copperplate.spell_word(v_value #>> '{}');
    end if;
    if (v_word = any(copperplate.memoji_words(p_field))) is not true then
        raise exception using
            errcode = 'ZC001',
            message = format('%s is not one of its words.', p_field),
            hint = 'Choose one of ' || array_to_string(copperplate.memoji_words(p_field), ', ') || '.';
    end if;
    return v_word;
end
$$;

comment on function copperplate.memoji_word(jsonb, text, text) is
'A field of a configuration in its one spelling, its default where it is absent or null. Raises ZC001.';
revoke all on function copperplate.memoji_word(jsonb, text, text) from public, anon, authenticated;
grant execute on function copperplate.memoji_word(jsonb, text, text) to service_role;

create function copperplate.memoji_accessories(p_configuration jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
security invoker
set search_path = ''
as $$
declare
    v_value jsonb := coalesce(p_configuration -> 'accessories', 'null');
    v_words text[];
begin
    if v_value = 'null' then
        return '[]'::jsonb;
    end if;
    if jsonb_typeof(v_value) = 'array' then
        select coalesce(array_agg(distinct s.word order by s.word), '{}')
        into v_words
        from (
            select case jsonb_typeof(i.item) when 'string' then copperplate.spell_word(i.item #>> '{}') end collate "C"
            from jsonb_array_elements(v_value) as i (item)
        ) as s (word);
    end if;
    if (v_words <@ copperplate.memoji_words('accessories') and cardinality(v_words) <= 6) is not true
        or array_position(v_words, null) is not null
    then
        raise exception using
            errcode = 'ZC001',
            message = 'accessories is not a list of at most 6 of its words.',
            hint = 'Choose from ' || array_to_string(copperplate.memoji_words('accessories'), ', ') || '.';
    end if;
    return to_jsonb(v_words);
end
$$;

comment on function copperplate.memoji_accessories(jsonb) is
'The accessories of a configuration in their one spelling: sorted, each once. Raises ZC001.';
revoke all on function copperplate.memoji_accessories(jsonb) from public, anon, authenticated;
grant execute on function copperplate.memoji_accessories(jsonb) to service_role;

create function copperplate.memoji_size(p_configuration jsonb)
returns text
language plpgsql
immutable
parallel safe
security invoker
set search_path = ''
as $$
declare
    v_value jsonb := coalesce(p_configuration -> 'size', 'null');
    v_size text;
begin
    if v_value = 'null' then
        return '1024x1024';
    end if;
    if jsonb_typeof(v_value) = 'string' then
        v_size := copperplate.spell_word(v_value #>> '{}');
    end if;
    if (v_size collate "C" ~ '^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$') is not true
        or split_part(v_size, 'x', 1)::integer not between 64 and 2048
        or split_part(v_size, 'x', 2)::integer not between 64 and 2048
    then
        raise exception using
            errcode = 'ZC001',
            message = 'size is not a size.',
            hint = 'Give WIDTHxHEIGHT in pixels, 64 to 2048 each.';
    end if;
    return v_size;
end
$$;

comment on function copperplate.memoji_size(jsonb) is
'The size of a configuration, WIDTHxHEIGHT in pixels, 1024x1024 where it is absent or null. Raises ZC001.';
revoke all on function copperplate.memoji_size(jsonb) from public, anon, authenticated;
grant execute on function copperplate.memoji_size(jsonb) to service_role;

create function public.memoji_cache_key(
    p_configuration jsonb,
    p_model text default 'gpt-image-2.5-flare',
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
    v_model text;
    v_settings text[];
    v_is_good boolean;
begin
    if jsonb_typeof(p_configuration) is distinct from 'object'
        or p_configuration - array[
            'model', 'size', 'familyType', 'gesture', 'hair', 'skinTone', 'accessories', 'colorTheme', 'background'
        ] <> '{}'
        or coalesce(jsonb_typeof(p_configuration -> 'model'), 'null') not in ('null', 'string')
    then
        raise exception using
            errcode = 'ZC001',
            message = 'This is not a memoji''s configuration.',
            hint = 'Give an object of model, size, familyType, gesture, hair, skinTone, accessories, colorTheme and '
                || 'background; each may be left out.';
    end if;
    v_model := coalesce(p_configuration ->> 'model', p_model);
    -- sorted, each once, without the background, which the configuration says
    select
        coalesce(array_agg(distinct s.setting collate "C" order by s.setting collate "C"), '{}'),
        count(distinct s.setting) = count(distinct substring(s.setting from '^([a-z][a-z0-9_]*)=[ -~]*$'))
        and bool_or(s.setting is null) is not true
    into v_settings, v_is_good
    from unnest(coalesce(p_settings, case
        when v_model like 'gpt-image-%' then array['moderation=auto', 'quality=medium']
    end)) as s (setting)
    where (s.setting like 'background=%') is not true;
    if (v_is_good and v_model collate "C" ~ '^[!-~]{1,200}$') is not true then
        raise exception using
            errcode = 'ZC001',
            message = 'A model''s name has 1 to 200 ASCII characters and no spaces; settings are name=value.',
            hint = 'See docs/keys.md.';
    end if;
    return public.cache_key(jsonb_build_object(
        'v', 1, 'kind', 'memoji', 'template', 1, 'model', v_model, 'settings', to_jsonb(v_settings),
        'size', copperplate.memoji_size(p_configuration),
        'familyType', copperplate.memoji_word(p_configuration, 'familyType', 'father'),
        'gesture', copperplate.memoji_word(p_configuration, 'gesture', 'wave'),
        'hair', copperplate.memoji_word(p_configuration, 'hair', 'short'),
        'skinTone', copperplate.memoji_word(p_configuration, 'skinTone', 'medium'),
        'accessories', copperplate.memoji_accessories(p_configuration),
        'colorTheme', copperplate.memoji_word(p_configuration, 'colorTheme', 'pastel-blue'),
        'background', copperplate.memoji_word(p_configuration, 'background', 'auto')
    ));
end
$$;

comment on function public.memoji_cache_key(jsonb, text, text[]) is
'The key of a memoji: memoji_cache.prompt_hash.

Normalises like POST /api/generate-memoji: defaults filled in, letter case and white space folded, accessories sorted.
p_model is that of a configuration that names none; settings that are null are the model''s standard ones. Raises ZC001
for what that request would refuse.';
revoke all on function public.memoji_cache_key(jsonb, text, text[]) from public, anon, authenticated;
grant execute on function public.memoji_cache_key(jsonb, text, text[]) to service_role;
