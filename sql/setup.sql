-- CHANGES the schema: sets up Copperplate without a terminal. Paste all of this into the SQL editor and run it.
-- Generated from supabase/migrations by sql/generate.py. May be run again: what is recorded is passed over, as
-- `supabase db push` and `copperplate migrate` do, which may follow it or come before it.
begin;
select pg_advisory_xact_lock(109330278933874);
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;

create or replace function pg_temp.apply_migration(p_version text, p_name text, p_statements text[])
returns void
language plpgsql
as $function$
declare
    v_statement text;
begin
    if exists (select from supabase_migrations.schema_migrations as m where m.version = p_version) then
        return;
    end if;
    foreach v_statement in array p_statements loop
        execute v_statement;
    end loop;
    insert into supabase_migrations.schema_migrations (version, name, statements)
    values (p_version, p_name, p_statements);
end
$function$;

select pg_temp.apply_migration('20261120000100', 'create_schema', array[
$statement$-- The private schema: internals live here, `public` holds what people and PostgREST use.
create schema copperplate$statement$,
$statement$comment on schema copperplate is
'Internals of Copperplate: entries, roll-ups, discarded objects, the clock. Not exposed through PostgREST.'$statement$,
$statement$revoke all on schema copperplate from public, anon, authenticated$statement$,
$statement$-- Usage alone reveals nothing: every object below has its own grants. The two public statistics
-- functions run with the rights of their caller and read one small table in here.
grant usage on schema copperplate to service_role, anon, authenticated$statement$,
$statement$-- A new function is executable by everyone until that is revoked, so each revokes it where it is made. Default
-- privileges of this schema could not: they add to the global ones, which are the project's own.

-- One sequence for all keys: a fence never repeats, not even for a key that was deleted and came back.
create sequence copperplate.fences as bigint$statement$,
$statement$comment on sequence copperplate.fences is 'Every new lease takes the next number; the highest holder of a key wins.'$statement$,
$statement$revoke all on sequence copperplate.fences from public, anon, authenticated$statement$,
$statement$grant usage on sequence copperplate.fences to service_role$statement$,
$statement$-- The only clock that decides leases and negative entries. A test may move it by setting
-- `copperplate.clock_offset` to an interval; nothing else reads that setting.
create function copperplate.clock()
returns timestamptz
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_offset text := current_setting('copperplate.clock_offset', true);
begin
    if v_offset is null or v_offset = '' then
        return clock_timestamp();
    end if;
    return clock_timestamp() + v_offset::interval;
end;
$$$statement$,
$statement$comment on function copperplate.clock() is
'Now, as the ledger sees it: clock_timestamp(), moved by the test setting copperplate.clock_offset.'$statement$,
$statement$revoke all on function copperplate.clock() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.clock() to service_role, anon, authenticated$statement$
]);

select pg_temp.apply_migration('20261120000150', 'create_kinds', array[
$statement$-- What a kind of picture is. Functions, triggers, statistics and buckets read this table; only the views and functions
-- that are promised of one kind, image_cache and memoji_cache, name it. A new kind is a row here, and its bucket comes
-- with it (src/copperplate/recipes/kinds.py; a test holds the two equal).
create table copperplate.kinds (
    name text not null,
    -- The Storage bucket of its objects.
    bucket text not null,
    is_public boolean not null,
    -- Whether a generation is told of to nobody but who asked for it.
    is_private boolean not null default false,
    -- Whether people are shown the original itself; else they are shown its renditions, which it backs.
    is_own_original boolean not null,
    -- Of one object.
    max_bytes bigint not null,
    -- An entry may be removed once it is this old.
    retention interval not null,
    -- With so many uses it stays, however old; null: it stays while its last use is younger than retention.
    min_uses bigint,
    -- With more uses than that it is archived, which no cleanup removes; null: never.
    archive_above bigint,
    constraint kinds_pkey primary key (name),
    constraint kinds_bucket_key unique (bucket),
    constraint kinds_limits_are_positive check (
        max_bytes > 0 and retention > interval '0' and min_uses > 0 and archive_above >= min_uses
    )
)$statement$,
$statement$comment on table copperplate.kinds is
'One row per kind of picture: where its objects live, what people are shown of it, how long it is kept.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.kinds enable row level security$statement$,
$statement$revoke all on table copperplate.kinds from public, anon, authenticated, service_role$statement$,
$statement$grant select on table copperplate.kinds to service_role$statement$,
$statement$insert into copperplate.kinds (
    name, bucket, is_public, is_private, is_own_original, max_bytes, retention, min_uses, archive_above
)
values
('image', 'generated-images', true, false, false, 32 * 1024 * 1024, interval '30 days', null, null),
('memoji', 'memoji-images', true, true, true, 5 * 1024 * 1024, interval '90 days', 2, 100),
('processed', 'processed-images', false, true, true, 32 * 1024 * 1024, interval '30 days', null, null)$statement$,
$statement$create function copperplate.rules_of(
    p_kind text, p_older_than interval, p_min_uses bigint, p_archive_above bigint
)
returns copperplate.kinds
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_rules copperplate.kinds;
begin
    select k.* into v_rules from copperplate.kinds as k where k.name = p_kind;
    if not found then
        raise exception 'unknown kind of picture'
            using errcode = 'ZC003', hint = 'Known kinds are the rows of copperplate.kinds.';
    end if;
    v_rules.retention := coalesce(p_older_than, v_rules.retention);
    v_rules.min_uses := coalesce(p_min_uses, v_rules.min_uses);
    v_rules.archive_above := coalesce(p_archive_above, v_rules.archive_above);
    return v_rules;
end;
$$$statement$,
$statement$comment on function copperplate.rules_of(text, interval, bigint, bigint) is
'The row of a kind, with what the caller gives in place of its rules. Raises ZC003 for an unknown kind.'$statement$,
$statement$revoke all on function copperplate.rules_of(text, interval, bigint, bigint) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.rules_of(text, interval, bigint, bigint) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000200', 'create_cache_keys', array[
$statement$-- Keys in SQL: the same text, the same bytes and the same hashes as the Python package `recipes`.
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
$$$statement$,
$statement$comment on function public.cache_key(jsonb) is
'The key of a canonical recipe: SHA-256 in 64 hexadecimal digits.

Hashes the recipe as compact JSON in UTF-8 with its members sorted by code point; normalises nothing.
Raises ZC001 for anything that is not a canonical recipe.'$statement$,
$statement$revoke all on function public.cache_key(jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function public.cache_key(jsonb) to service_role$statement$,
$statement$create function copperplate.fold_text(p_text text)
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
$$$statement$,
$statement$comment on function copperplate.fold_text(text) is
'A prompt in its one spelling: NFC, runs of white space as one space, trimmed; letter case is kept.

The answer has 1 to 1000 characters. Raises ZC001 for control characters and for texts that are empty
or too long.'$statement$,
$statement$revoke all on function copperplate.fold_text(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.fold_text(text) to service_role$statement$,
$statement$create function public.image_cache_key(
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
$$$statement$,
$statement$comment on function public.image_cache_key(text, integer, integer, text, text, text[]) is
'The generation key of a picture: generation_status.prompt_hash, image_cache.generation_hash.

Normalises like GET /{width}x{height}.{format}?text=...; sizes in pixels. Settings that are null are the
model''s standard ones. Raises ZC001 for what that request would refuse.'$statement$,
$statement$revoke all on function public.image_cache_key(text, integer, integer, text, text, text[])
from public, anon, authenticated$statement$,
$statement$grant execute on function public.image_cache_key(text, integer, integer, text, text, text[])
to service_role$statement$,
$statement$-- Without a width and a height it is the whole canvas.
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
$$$statement$,
$statement$comment on function public.rendition_cache_key(text, text, integer, integer, integer) is
'The key of one rendition of a generation: image_cache.prompt_hash.

Formats are jpg (or jpeg), png, webp, avif, and original for the bytes as the provider made them. Quality is 1 to 100 and
counts for all but png and original. Width and height are those of the output, after the rungs. Raises ZC001 for anything else.'$statement$,
$statement$revoke all on function public.rendition_cache_key(text, text, integer, integer, integer)
from public, anon, authenticated$statement$,
$statement$grant execute on function public.rendition_cache_key(text, text, integer, integer, integer)
to service_role$statement$
]);

select pg_temp.apply_migration('20261120000250', 'create_memoji_keys', array[
$statement$-- The memoji's key in SQL: the same wishes, the same keys, the same refusals as the Python module `recipes.memoji`.

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
$$$statement$,
$statement$comment on function copperplate.memoji_words(text) is
'The words a field of a memoji''s configuration may be; null for a field that takes none.'$statement$,
$statement$revoke all on function copperplate.memoji_words(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.memoji_words(text) to service_role$statement$,
$statement$create function copperplate.spell_word(p_word text)
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
$$$statement$,
$statement$comment on function copperplate.spell_word(text) is
'The one spelling of a word: folded like a prompt, A to Z in lower case, words joined by hyphens.
Raises ZC001 for what is no text.'$statement$,
$statement$revoke all on function copperplate.spell_word(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.spell_word(text) to service_role$statement$,
$statement$create function copperplate.memoji_word(p_configuration jsonb, p_field text, p_default text)
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
$$$statement$,
$statement$comment on function copperplate.memoji_word(jsonb, text, text) is
'A field of a configuration in its one spelling, its default where it is absent or null. Raises ZC001.'$statement$,
$statement$revoke all on function copperplate.memoji_word(jsonb, text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.memoji_word(jsonb, text, text) to service_role$statement$,
$statement$create function copperplate.memoji_accessories(p_configuration jsonb)
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
$$$statement$,
$statement$comment on function copperplate.memoji_accessories(jsonb) is
'The accessories of a configuration in their one spelling: sorted, each once. Raises ZC001.'$statement$,
$statement$revoke all on function copperplate.memoji_accessories(jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.memoji_accessories(jsonb) to service_role$statement$,
$statement$create function copperplate.memoji_size(p_configuration jsonb)
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
$$$statement$,
$statement$comment on function copperplate.memoji_size(jsonb) is
'The size of a configuration, WIDTHxHEIGHT in pixels, 1024x1024 where it is absent or null. Raises ZC001.'$statement$,
$statement$revoke all on function copperplate.memoji_size(jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.memoji_size(jsonb) to service_role$statement$,
$statement$create function public.memoji_cache_key(
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
$$$statement$,
$statement$comment on function public.memoji_cache_key(jsonb, text, text[]) is
'The key of a memoji: memoji_cache.prompt_hash.

Normalises like POST /api/generate-memoji: defaults filled in, letter case and white space folded, accessories sorted.
p_model is that of a configuration that names none; settings that are null are the model''s standard ones. Raises ZC001
for what that request would refuse.'$statement$,
$statement$revoke all on function public.memoji_cache_key(jsonb, text, text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function public.memoji_cache_key(jsonb, text, text[]) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000300', 'create_generation_status', array[
$statement$-- One row per generation: what the provider is paid for. Kept while any entry of it exists.
--
--              acquire                begin_submit                note_request
--   (none) ────────────► pending ────────────────► generating ──────────────► generating
--                        claimed                   submitting                 submitted
--                                                      │ (answer at once)         │ collect
--                                                      └───────────┬──────────────┘
--                                                                  ▼ intend_upload
--   failed ◄──── fail_generation ──── any of them             generating
--     │                                                       uploading
--     └── retry_at passed: acquire, a new attempt                  │ complete_generation
--                                                                  ▼
--                                                              completed
--
-- A picture that exists already is given, not submitted: intend_upload takes its generation from pending to uploading.
-- A lease that ran out is taken over by acquire: a higher fence, the same phase.
create table public.generation_status (
    -- The generation's key: SHA-256 of the canonical recipe.
    prompt_hash text not null,
    id uuid not null default gen_random_uuid(),
    kind text not null,
    recipe jsonb not null,
    prompt text,
    dimensions text not null,
    model text not null,
    provider text,
    -- The original's format, null until it is known.
    format text,
    status text not null default 'pending',
    phase text,
    -- The original's public address; null for a private bucket or a store without addresses.
    generated_url text,
    error_class text,
    error_message text,
    retry_at timestamptz,
    total_requests bigint not null default 0,
    api_calls_made integer not null default 0,
    -- Attempts since window_started_at; more than a day later the count begins anew.
    attempt integer not null default 1,
    window_started_at timestamptz not null,
    -- Submits of this attempt, set and never incremented, so a repeated call changes nothing.
    submit_no integer not null default 0,
    -- Decodings of the picture that began and did not end, set like submit_no.
    decode_no integer not null default 0,
    provider_request_id text,
    provider_urls jsonb,
    -- When the provider's job became known: its result is kept for a limited time.
    noted_at timestamptz,
    -- What the provider reported to bill, summed over the submits whose picture arrived: {unit: whole number}.
    provider_usage jsonb not null default '{}',
    -- Where the original is about to be stored: {path, digest, size_bytes, format, width, height}.
    intent jsonb,
    -- What the leader reserved of its caller's own budgets: {day, amount_micro_usd, budgets}.
    reserved jsonb,
    -- Since when no cleanup removes it, nor any picture of it; null while it may grow old.
    pinned_at timestamptz,
    fence bigint not null,
    leader uuid,
    lease_until timestamptz,
    created_at timestamptz not null,
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz not null,
    constraint generation_status_pkey primary key (prompt_hash),
    constraint generation_status_id_key unique (id),
    constraint generation_status_prompt_hash_is_sha256 check (prompt_hash ~ '^[0-9a-f]{64}$'),
    constraint generation_status_status_is_known check (
        status in (
            'pending',     -- somebody leads, nothing was sent
            'generating',  -- money may be out
            'completed',   -- the original is stored and verified
            'failed'       -- a negative entry until retry_at
        )
    ),
    constraint generation_status_phase_is_known check (
        phase in ('claimed', 'submitting', 'submitted', 'uploading')
    ),
    constraint generation_status_pending_sent_nothing check (status <> 'pending' or phase = 'claimed'),
    constraint generation_status_generating_was_sent check (
        status <> 'generating' or phase in ('submitting', 'submitted', 'uploading')
    ),
    constraint generation_status_live_has_lease check (
        (status in ('pending', 'generating')) = (leader is not null and lease_until is not null)
    ),
    constraint generation_status_failed_has_reason check (
        (status = 'failed') = (error_class is not null and retry_at is not null)
    ),
    constraint generation_status_completed_has_original check (
        status <> 'completed' or (format is not null and completed_at is not null)
    ),
    constraint generation_status_live_alone_reserves check (
        reserved is null or status in ('pending', 'generating')
    ),
    constraint generation_status_error_class_is_known check (
        error_class in (
            'moderated', 'invalid', 'rate_limited', 'transient', 'ambiguous', 'bad_output', 'account',
            'abandoned', 'missing_object', 'uncollected', 'lost'
        )
    ),
    constraint generation_status_counts_are_not_negative check (
        total_requests >= 0 and api_calls_made >= 0 and attempt >= 1 and submit_no >= 0
        and decode_no >= 0
    ),
    constraint generation_status_provider_usage_is_small_object check (
        jsonb_typeof(provider_usage) = 'object' and octet_length(provider_usage::text) <= 1000
    )
) with (fillfactor = 70)$statement$,
$statement$-- Leases and counts change often: no index covers a column that heartbeats or hits change, so
-- those updates stay within their page. Rows in flight are few; this finds them for the sweep.
create index generation_status_unfinished_idx
on public.generation_status (status)
where status <> 'completed'$statement$,
$statement$-- Few rows, for a cleanup to look at.
create index generation_status_pinned_idx
on public.generation_status (prompt_hash)
where pinned_at is not null$statement$,
$statement$-- What is made from a source picture, by its digest.
create index generation_status_source_idx
on public.generation_status ((recipe ->> 'source'))
where kind = 'processed'$statement$,
$statement$comment on table public.generation_status is
'One row per generation: who makes it, how far it got, what it cost, who asked for it.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$comment on column public.generation_status.prompt_hash is 'The generation''s key: SHA-256 of the canonical recipe.'$statement$,
$statement$comment on column public.generation_status.total_requests is
'Requests for this picture that reached us: leaders, followers and hits, in every format.'$statement$,
$statement$comment on column public.generation_status.api_calls_made is 'Submits to the provider that may be billed.'$statement$,
$statement$comment on column public.generation_status.provider_usage is
'What the provider reported to bill, by its own units (micro_units at fal; text_in, image_in, out tokens at OpenAI),
summed over every submit whose picture arrived. Empty where nothing was reported.'$statement$,
$statement$comment on column public.generation_status.pinned_at is
'Since when no cleanup removes the picture: see pin_picture and unpin_picture.'$statement$,
$statement$comment on column public.generation_status.phase is 'Recovery point: what a successor must assume has happened.'$statement$,
$statement$comment on column public.generation_status.fence is 'Number of the newest lease; writes with an older one are refused.'$statement$,
$statement$alter table public.generation_status enable row level security$statement$,
$statement$revoke all on table public.generation_status from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table public.generation_status to service_role$statement$
]);

select pg_temp.apply_migration('20261120000320', 'create_public_totals', array[
$statement$-- Totals that anyone may see: no prompts, no money. Writers only ever insert, so no row is hot;
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
)$statement$,
$statement$comment on table copperplate.public_totals is
'Sums by day (UTC) and kind, to be added up by the reader. Anyone may read it: the statistics are public.'$statement$,
$statement$alter table copperplate.public_totals enable row level security$statement$,
$statement$revoke all on table copperplate.public_totals from public, anon, authenticated$statement$,
$statement$grant select on table copperplate.public_totals to anon, authenticated$statement$,
$statement$grant select, insert, update, delete on table copperplate.public_totals to service_role$statement$,
$statement$create policy public_totals_are_public
on copperplate.public_totals
for select
to anon, authenticated
using (true)$statement$
]);

select pg_temp.apply_migration('20261120000345', 'create_takedowns', array[
$statement$-- Pictures that must not be served, and never be made again. A tombstone outlives everything of its generation, and no
-- cleanup removes it: only lift_takedown does.
create table copperplate.takedowns (
    -- The generation's key. That of a picture (a rendition's) where nothing was known of it when it was taken down. Of
    -- bytes that nothing may be made of: their digest.
    generation_key text not null,
    -- As the owner named it: a takedown is lifted by this key, too.
    asked_key text not null,
    -- The tombstone that took this one with it, and is lifted with it; null where the owner named this one.
    follows_key text,
    reason text,
    created_at timestamptz not null,
    constraint takedowns_pkey primary key (generation_key),
    constraint takedowns_generation_key_is_sha256 check (generation_key ~ '^[0-9a-f]{64}$'),
    constraint takedowns_asked_key_is_sha256 check (asked_key ~ '^[0-9a-f]{64}$'),
    constraint takedowns_follows_another check (follows_key ~ '^[0-9a-f]{64}$' and follows_key <> generation_key),
    constraint takedowns_reason_is_short check (length(reason) between 1 and 500)
)$statement$,
$statement$create index takedowns_follows_idx on copperplate.takedowns (follows_key) where follows_key is not null$statement$,
$statement$comment on table copperplate.takedowns is
'Tombstones: one row per picture that is answered 410 and never generated again.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$comment on column copperplate.takedowns.reason is 'For the owner; no caller is told.'$statement$,
$statement$alter table copperplate.takedowns enable row level security$statement$,
$statement$revoke all on table copperplate.takedowns from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.takedowns to service_role$statement$,
$statement$create function copperplate.is_taken_down(p_generation_key text, p_rendition_key text default null)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select exists (
        select from copperplate.takedowns as t
        where t.generation_key in (p_generation_key, p_rendition_key)
    );
$$$statement$,
$statement$comment on function copperplate.is_taken_down(text, text) is
'Whether there is a tombstone of this generation, or of this rendition of it.'$statement$,
$statement$revoke all on function copperplate.is_taken_down(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.is_taken_down(text, text) to service_role$statement$,
$statement$create function copperplate.enforce_takedown(p_generation_key text, p_rendition_key text default null)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if
        not copperplate.is_taken_down(p_generation_key, p_rendition_key)
        -- Or what it is made from, whose takedown did not see this one yet.
        and not exists (
            select from public.generation_status as g
            where
                g.prompt_hash = p_generation_key
                and g.kind = 'processed'
                and copperplate.source_is_taken_down(g.recipe ->> 'source')
        )
    then
        return false;
    end if;
    -- A rendition's key was taken down while nothing was known of it: here its generation is.
    insert into copperplate.takedowns (generation_key, asked_key, reason, created_at)
    select p_generation_key, t.asked_key, t.reason, t.created_at
    from copperplate.takedowns as t
    where t.generation_key = p_rendition_key and not copperplate.is_taken_down(p_generation_key)
    on conflict (generation_key) do nothing;
    -- Those who go on asking for it run no trigger, and do not queue for the lock of a notification.
    if exists (select from public.generation_status as g where g.prompt_hash = p_generation_key) then
        delete from public.generation_status as g where g.prompt_hash = p_generation_key;
        perform pg_notify('copperplate', p_generation_key);
    end if;
    return true;
end;
$$$statement$,
$statement$comment on function copperplate.enforce_takedown(text, text) is
'Whether this is taken down. If so, what began beside the takedown goes: its generation, with its lease, entries,
objects and reservations. A tombstone of the rendition alone becomes one of its generation.'$statement$,
$statement$revoke all on function copperplate.enforce_takedown(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.enforce_takedown(text, text) to service_role$statement$,
$statement$create function copperplate.place_taken_down(p_generation_key text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    insert into public.generation_status (
        prompt_hash, kind, recipe, dimensions, model, status, error_class, retry_at, window_started_at, fence,
        created_at, updated_at
    )
    values (
        p_generation_key, '', '{}', '', '', 'failed', 'abandoned', v_now, v_now, nextval('copperplate.fences'),
        v_now, v_now
    )
    on conflict (prompt_hash) do nothing;
    return found;
end;
$$$statement$,
$statement$comment on function copperplate.place_taken_down(text) is
'Place a row that is to be deleted where a generation has none. An election under way holds its key before its row can
be seen: this waits until it is over. True where there was none. Whoever is elected later sees the tombstone in
begin_submit.'$statement$,
$statement$revoke all on function copperplate.place_taken_down(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.place_taken_down(text) to service_role$statement$,
$statement$create function copperplate.remove_taken_down(p_generation_key text, p_descendants text[])
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_keys text[] := array[p_generation_key] || p_descendants;
    -- Those of an earlier call, too: taking down again goes on where it failed.
    v_names text[] := v_keys || array(
        select t.generation_key from copperplate.takedowns as t where t.follows_key = p_generation_key
    );
    v_was_placed boolean := copperplate.place_taken_down(p_generation_key);
    v_in_cdns text[] := copperplate.without_private(v_keys);
    v_counts jsonb;
    v_objects jsonb;
begin
    -- Generations first, then entries, and sources: the one lock order.
    perform from public.generation_status as g
    where g.prompt_hash = any(v_keys)
    order by g.prompt_hash
    for update;
    select
        jsonb_build_object(
            'generations', cardinality(v_keys) - v_was_placed::integer,
            'descendants', cardinality(p_descendants),
            -- What people are shown, which is the original itself of some kinds.
            'images', count(*) filter (where e.is_shown),
            'bytes', coalesce(sum(e.file_size), 0)
        )
    into v_counts
    from copperplate.cache_entries as e
    where e.generation_key = any(v_keys);
    perform copperplate.set_aging(true);
    delete from public.generation_status as g where g.prompt_hash = any(v_keys);
    perform copperplate.set_aging(false);
    perform copperplate.discard_inputs(v_names);
    v_objects := copperplate.discarded_with(v_names);
    -- In place of what the deletion declares: also copies of what was removed before, by age.
    perform copperplate.add_cdn_purges(v_in_cdns, v_objects);
    perform pg_notify('copperplate', k.key) from unnest(v_keys) as k (key);
    return v_counts || jsonb_build_object('keys', v_keys, 'objects', v_objects);
end;
$$$statement$,
$statement$comment on function copperplate.remove_taken_down(text, text[]) is
'Remove a generation that has its tombstone, an election under way included, its descendants, and the clean copies of
what they were made from; answers counts, their keys and objects.'$statement$,
$statement$revoke all on function copperplate.remove_taken_down(text, text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.remove_taken_down(text, text[]) to service_role$statement$,
$statement$create function copperplate.find_to_take_down(p_key text, out what text, out generation_key text)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    select 'generation', g.prompt_hash into what, generation_key
    from public.generation_status as g
    where g.prompt_hash = p_key;
    if generation_key is null then
        -- People hold the key of a picture: X-Copperplate-Key, prompt_hash in public.image_cache.
        select 'picture', e.generation_key into what, generation_key
        from copperplate.cache_entries as e
        where e.key = p_key;
    end if;
    if generation_key is null then
        select 'tombstone', t.generation_key into what, generation_key
        from copperplate.takedowns as t
        where p_key = t.generation_key or (p_key = t.asked_key and t.follows_key is null)
        order by t.generation_key = p_key
        limit 1;
    end if;
    if generation_key is null then
        select 'source', s.digest into what, generation_key
        from copperplate.source_pictures as s
        where s.digest = p_key;
    end if;
    if generation_key is null then
        what := 'nothing';
        generation_key := p_key;
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.find_to_take_down(text) is
'What a key is, generation, picture, tombstone, source (the digest of one) or nothing, and the key of its tombstone.'$statement$,
$statement$revoke all on function copperplate.find_to_take_down(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.find_to_take_down(text) to service_role$statement$,
$statement$create function public.take_down(p_key text, p_reason text default null)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- A call removes no more descendants than this, well below the database's time limit.
    v_limit constant integer := 1000;
    v_asked record;
    v_is_new integer;
    v_names text[];
    v_descendants text[];
begin
    perform copperplate.close_lineage();
    v_asked := copperplate.find_to_take_down(p_key);
    insert into copperplate.takedowns as t (generation_key, asked_key, reason, created_at)
    values (v_asked.generation_key, p_key, p_reason, copperplate.clock())
    -- What was taken with another is from now on taken down for itself.
    on conflict (generation_key) do update
    set follows_key = null, asked_key = excluded.asked_key, reason = coalesce(excluded.reason, t.reason)
    where t.follows_key is not null;
    get diagnostics v_is_new = row_count;

    v_names := array(
        select b.name
        from copperplate.names_below(
            array[v_asked.generation_key] || array(
                select t.generation_key from copperplate.takedowns as t where t.follows_key = v_asked.generation_key
            )
        ) as b (name)
        where b.name <> v_asked.generation_key
    );
    v_descendants := array(
        select g.prompt_hash
        from public.generation_status as g
        where g.prompt_hash = any(v_names)
        order by g.prompt_hash
        limit v_limit
    );
    insert into copperplate.takedowns (generation_key, asked_key, follows_key, reason, created_at)
    select n.name, p_key, v_asked.generation_key, p_reason, copperplate.clock()
    from unnest(v_names) as n (name)
    order by n.name
    on conflict (generation_key) do nothing;
    return copperplate.remove_taken_down(v_asked.generation_key, v_descendants) || jsonb_build_object(
        'found', v_asked.what, 'generation_key', v_asked.generation_key, 'is_new', v_is_new = 1,
        'is_whole', cardinality(v_descendants) < v_limit
    );
end;
$$$statement$,
$statement$comment on function public.take_down(text, text) is
'Take a picture down, by the key of its generation or its own: it is removed, answered 410 and never generated again,
and with it all that was made from it. By the SHA-256 of a source picture: nothing is made of these bytes any more.
Answers found, what the key was: generation, picture, tombstone, source, or nothing; counts; keys and objects for CDN and
store; is_whole, false where there were more descendants than one call removes: repeat it.
A key that is not known yet is taken down all the same. Repeated, it removes what is left.'$statement$,
$statement$revoke all on function public.take_down(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.take_down(text, text) to service_role$statement$,
$statement$create function public.lift_takedown(p_key text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_keys text[];
begin
    v_keys := array(
        select t.generation_key
        from copperplate.takedowns as t
        where t.follows_key is null and p_key in (t.generation_key, t.asked_key)
    );
    delete from copperplate.takedowns as t where t.generation_key = any(v_keys) or t.follows_key = any(v_keys);
    return found;
end;
$$$statement$,
$statement$comment on function public.lift_takedown(text) is
'Remove the tombstone, by the key of the generation or the one that was taken down, and those that it took with it: the
next request makes the picture anew. False where there is none, or it follows another: then that one is to be lifted.'$statement$,
$statement$revoke all on function public.lift_takedown(text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.lift_takedown(text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000346', 'create_pins', array[
$statement$-- Pictures that no cleanup removes. A pin is a column of its generation: it covers the original and every rendition,
-- outlasts a lost object, and goes with the row.

create function copperplate.set_pin(p_key text, p_pinned_at timestamptz)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_generation_key text;
    v_pinned_at timestamptz;
    v_status text;
begin
    -- A cleanup that holds the row is waited for; what it removed is not there any more.
    select g.prompt_hash, g.pinned_at, g.status
    into v_generation_key, v_pinned_at, v_status
    from public.generation_status as g
    where
        g.prompt_hash = p_key
        or g.prompt_hash = (select e.generation_key from copperplate.cache_entries as e where e.key = p_key)
    for update;
    if not found then
        return null;
    end if;
    if (v_pinned_at is null) <> (p_pinned_at is null) then
        update public.generation_status as g set pinned_at = p_pinned_at where g.prompt_hash = v_generation_key;
    end if;
    return jsonb_build_object(
        'generation_key', v_generation_key, 'status', v_status, 'is_new', (v_pinned_at is null) <> (p_pinned_at is null)
    );
end;
$$$statement$,
$statement$comment on function copperplate.set_pin(text, timestamptz) is
'Set or, with null, remove the pin of a generation, by its key or that of a picture of it; answers its key, its status
and whether that was new; null where the key is not known.'$statement$,
$statement$revoke all on function copperplate.set_pin(text, timestamptz) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.set_pin(text, timestamptz) to service_role$statement$,
$statement$create function public.pin_picture(p_key text)
returns jsonb
language sql
volatile
security invoker
set search_path = ''
as $$
    select copperplate.set_pin(p_key, copperplate.clock());
$$$statement$,
$statement$comment on function public.pin_picture(text) is
'Keep a picture, in every format, from all cleanups, by the key of its generation or its own. Answers generation_key,
status and is_new; null where the key is not known.'$statement$,
$statement$revoke all on function public.pin_picture(text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.pin_picture(text) to service_role$statement$,
$statement$create function public.unpin_picture(p_key text)
returns jsonb
language sql
volatile
security invoker
set search_path = ''
as $$
    select copperplate.set_pin(p_key, null);
$$$statement$,
$statement$comment on function public.unpin_picture(text) is
'Let a picture grow old again, by the key of its generation or its own. Answers generation_key, status and is_new; null
where the key is not known.'$statement$,
$statement$revoke all on function public.unpin_picture(text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.unpin_picture(text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000350', 'create_accounts', array[
$statement$-- Accounts: who is signed in, and what credits they have.

-- Who is signed in, by the claims that PostgREST sets; null for everybody else. As auth.uid() says it, which a
-- Postgres without Supabase does not have.
create function copperplate.signed_in_user()
returns uuid
language sql
stable
security invoker
set search_path = ''
as $$
    select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid;
$$$statement$,
$statement$comment on function copperplate.signed_in_user() is 'The id of the user whose token came with this request, or null.'$statement$,
$statement$revoke all on function copperplate.signed_in_user() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.signed_in_user() to authenticated, service_role$statement$,
$statement$create table copperplate.accounts (
    -- Ours, and random: everything else names this one, so that a deleted user leaves sums and no trace.
    id uuid not null default gen_random_uuid(),
    -- Supabase's id of the user; null once the user is deleted.
    user_id uuid,
    balance bigint not null default 0,
    held bigint not null default 0,
    created_at timestamptz not null,
    constraint accounts_pkey primary key (id),
    constraint accounts_user_key unique (user_id),
    constraint accounts_balance_is_not_negative check (balance >= 0),
    constraint accounts_held_is_within_balance check (held between 0 and balance)
)$statement$,
$statement$comment on table copperplate.accounts is
'Credits of signed-in people: balance, and what of it generations under way hold. A person sees their own row.'$statement$,
$statement$comment on column copperplate.accounts.user_id is 'The user in auth.users; null once deleted.'$statement$,
$statement$alter table copperplate.accounts enable row level security$statement$,
$statement$revoke all on table copperplate.accounts from public, anon, authenticated, service_role$statement$,
$statement$grant select on table copperplate.accounts to authenticated$statement$,
$statement$grant select, insert, update, delete on table copperplate.accounts to service_role$statement$,
$statement$create policy accounts_are_their_owners
on copperplate.accounts
for select
to authenticated
using (user_id = (select copperplate.signed_in_user()))$statement$,
$statement$create function copperplate.open_account(p_user uuid)
returns uuid
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_account uuid;
begin
    -- A round is lost only to somebody who forgets this very user at this moment.
    for v_round in 1..5 loop
        insert into copperplate.accounts (user_id, created_at)
        values (p_user, copperplate.clock())
        on conflict (user_id) do nothing;
        -- Locked as a foreign key would: it stays, and stays this user's, until the caller is done.
        select a.id into v_account
        from copperplate.accounts as a
        where a.user_id = p_user
        for key share;
        exit when found;
    end loop;
    return v_account;
end;
$$$statement$,
$statement$comment on function copperplate.open_account(uuid) is 'The id of a user''s account, which is made where there is none.'$statement$,
$statement$revoke all on function copperplate.open_account(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.open_account(uuid) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000351', 'create_credit_ledger', array[
$statement$-- Every change of a balance.

create table copperplate.credit_ledger (
    id bigint generated always as identity,
    account_id uuid not null,
    -- Credits; the balance of an account is the sum of these.
    delta bigint not null,
    kind text not null,
    -- What it was for: the reservation's id, or the reference given with a grant. Once per kind.
    ref text not null,
    created_at timestamptz not null,
    constraint credit_ledger_pkey primary key (id),
    constraint credit_ledger_account_fkey foreign key (account_id) references copperplate.accounts (id),
    constraint credit_ledger_ref_key unique (kind, ref),
    constraint credit_ledger_kind_is_known check (
        (kind = 'grant' and delta > 0)       -- somebody gave credits
        or (kind = 'settle' and delta < 0)   -- a picture was made
        or (kind = 'refund' and delta > 0)   -- it was gone before it was delivered
    )
)$statement$,
$statement$create index credit_ledger_account_idx on copperplate.credit_ledger (account_id, id)$statement$,
$statement$comment on table copperplate.credit_ledger is
'Every change of a balance, in order. Rows are added and never changed. A person sees the rows of their own account.'$statement$,
$statement$alter table copperplate.credit_ledger enable row level security$statement$,
$statement$revoke all on table copperplate.credit_ledger from public, anon, authenticated, service_role$statement$,
$statement$grant select on table copperplate.credit_ledger to authenticated$statement$,
$statement$grant select, insert on table copperplate.credit_ledger to service_role$statement$,
$statement$create policy credit_ledger_is_its_owners
on copperplate.credit_ledger
for select
to authenticated
using (
    account_id in (
        select a.id
        from copperplate.accounts as a
        where a.user_id = (select copperplate.signed_in_user())
    )
)$statement$,
$statement$create function copperplate.refuse_change()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    raise exception 'rows of % are never changed', tg_table_name
        using errcode = 'ZC010', hint = 'Add a row that corrects it.';
end;
$$$statement$,
$statement$comment on function copperplate.refuse_change() is 'Keeps a ledger append-only, for its owner too.'$statement$,
$statement$revoke all on function copperplate.refuse_change() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.refuse_change() to service_role$statement$,
$statement$create trigger credit_ledger_is_append_only
before update or delete on copperplate.credit_ledger
for each row execute function copperplate.refuse_change()$statement$
]);

select pg_temp.apply_migration('20261120000352', 'create_reservations', array[
$statement$-- Credits: what signed-in people may have made for them. A generation reserves before anything is spent, is settled
-- when the picture is stored, and gives back what it could not deliver.
--
--             acquire_generation            complete_generation
--   (none) ─────────────────────► held ─────────────────────────► settled ──► delivered: stays so
--                                  │                                 │
--            fail, sweep, delete   ▼         gone before delivered   ▼
--            lapsed, and its    released                          refunded
--            owner asks
--
-- Lapsed: held for longer than its time, and no lease is on its generation. It counts as free wherever it is read,
-- whether a sweep came by or not.
--
-- The one lock order, of every function: generations, entries and discarded objects, breakers, reservations, accounts,
-- credit ledger and asks, submits, totals. Who takes several of a kind takes all of them before the first of the next,
-- in the order of their keys; accounts in the order of their ids.
create table copperplate.reservations (
    id uuid not null default gen_random_uuid(),
    generation_key text not null,
    -- Of the generation, told here so that its payer needs to see nothing else of it.
    kind text not null,
    generated_url text,
    account_id uuid not null,
    amount bigint not null,
    state text not null default 'held',
    created_at timestamptz not null,
    -- A generation that nobody works on any more holds nothing beyond this.
    expires_at timestamptz not null,
    closed_at timestamptz,
    -- When the person was told where the picture is; from then on nothing is given back.
    delivered_at timestamptz,
    constraint reservations_pkey primary key (id),
    constraint reservations_account_fkey foreign key (account_id) references copperplate.accounts (id),
    constraint reservations_amount_is_positive check (amount > 0),
    constraint reservations_state_is_known check (
        state in (
            'held',      -- counted in accounts.held
            'settled',   -- taken from the balance
            'released',  -- nothing was taken
            'refunded'   -- taken and given back
        )
    ),
    constraint reservations_closed_has_time check ((state = 'held') = (closed_at is null)),
    constraint reservations_delivered_is_settled check (delivered_at is null or state = 'settled')
)$statement$,
$statement$-- One per generation: a takeover inherits it.
create unique index reservations_held_idx on copperplate.reservations (generation_key) where state = 'held'$statement$,
$statement$create index reservations_expiry_idx on copperplate.reservations (expires_at) where state = 'held'$statement$,
$statement$-- For what happens when a generation goes.
create index reservations_generation_idx on copperplate.reservations (generation_key)$statement$,
$statement$create index reservations_account_idx on copperplate.reservations (account_id, generation_key)$statement$,
$statement$-- For what lapsed of an account, which is little beside what it holds, and that beside what it ever had made.
create index reservations_held_account_idx on copperplate.reservations (account_id, expires_at) where state = 'held'$statement$,
$statement$comment on table copperplate.reservations is
'What generations reserved of somebody''s credits: held, settled, released or refunded. The generation''s key stays
when the generation goes. A person sees the rows of their own account.'$statement$,
$statement$alter table copperplate.reservations enable row level security$statement$,
$statement$revoke all on table copperplate.reservations from public, anon, authenticated, service_role$statement$,
$statement$grant select on table copperplate.reservations to authenticated$statement$,
$statement$grant select, insert, update on table copperplate.reservations to service_role$statement$,
$statement$create policy reservations_are_their_owners
on copperplate.reservations
for select
to authenticated
using (
    account_id in (
        select a.id
        from copperplate.accounts as a
        where a.user_id = (select copperplate.signed_in_user())
    )
)$statement$,
$statement$-- Security definer, with its owner's rights: a person sees their reservations, but no generation and no lease.
create function copperplate.is_lapsed(p_reservation copperplate.reservations)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
    select
        p_reservation.state = 'held' and p_reservation.expires_at < copperplate.clock()
        and not exists (
            select from public.generation_status as g
            where
                g.prompt_hash = p_reservation.generation_key and g.status in ('pending', 'generating')
                and g.lease_until > copperplate.clock()
        );
$$$statement$,
$statement$comment on function copperplate.is_lapsed(copperplate.reservations) is
'Whether a reservation is held for longer than its time while no lease is on its generation: it counts as free.'$statement$,
$statement$revoke all on function copperplate.is_lapsed(copperplate.reservations) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.is_lapsed(copperplate.reservations) to authenticated, service_role$statement$,
$statement$create function copperplate.lapsed_credits(p_account uuid)
returns bigint
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    -- The time is read once, or no index could help: one call for each reservation that is held costs more than the rest.
    return coalesce(sum(r.amount), 0)::bigint
    from copperplate.reservations as r
    where
        r.account_id = p_account and r.state = 'held' and r.expires_at < (select copperplate.clock())
        and copperplate.is_lapsed(r);
end;
$$$statement$,
$statement$comment on function copperplate.lapsed_credits(uuid) is
'What of accounts.held counts as free: credits of reservations that lapsed and were not released yet.'$statement$,
$statement$revoke all on function copperplate.lapsed_credits(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.lapsed_credits(uuid) to authenticated, service_role$statement$
]);

select pg_temp.apply_migration('20261120000353', 'create_credit_views', array[
$statement$-- What signed-in people read of their own: credits, the ledger, pictures.

create view public.my_credits
with (security_invoker = true)
as
select
    a.balance,
    a.held - copperplate.lapsed_credits(a.id) as held,
    a.balance - a.held + copperplate.lapsed_credits(a.id) as available,
    a.created_at
from copperplate.accounts as a
where a.user_id = (select copperplate.signed_in_user())$statement$,
$statement$comment on view public.my_credits is
'The credits of the user who is signed in: one row, or none before the first grant. held is reserved by pictures that
are being made.'$statement$,
$statement$revoke all on table public.my_credits from public, anon, authenticated, service_role$statement$,
$statement$grant select on table public.my_credits to authenticated$statement$,
$statement$create view public.my_credit_ledger
with (security_invoker = true)
as
select
    l.id,
    l.delta,
    l.kind,
    l.ref,
    l.created_at
from copperplate.credit_ledger as l
inner join copperplate.accounts as a on l.account_id = a.id
where a.user_id = (select copperplate.signed_in_user())$statement$,
$statement$comment on view public.my_credit_ledger is 'Every change of the credits of whoever is signed in.'$statement$,
$statement$revoke all on table public.my_credit_ledger from public, anon, authenticated, service_role$statement$,
$statement$grant select on table public.my_credit_ledger to authenticated$statement$,
$statement$create view public.my_generations
with (security_invoker = true)
as
select
    r.id,
    r.generation_key as prompt_hash,
    r.kind,
    case
        when r.state = 'settled' then 'completed'
        when r.state = 'held' and not copperplate.is_lapsed(r) then 'generating'
        else 'failed'
    end as status,
    r.generated_url,
    case r.state when 'settled' then r.amount else 0 end as credits,
    r.created_at,
    r.closed_at
from copperplate.reservations as r
inner join copperplate.accounts as a on r.account_id = a.id
where a.user_id = (select copperplate.signed_in_user())$statement$,
$statement$comment on view public.my_generations is
'The pictures whoever is signed in had made, and the credits they cost. What failed, or was gone before they were told
of it, cost none; generated_url is null once the picture is gone.'$statement$,
$statement$revoke all on table public.my_generations from public, anon, authenticated, service_role$statement$,
$statement$grant select on table public.my_generations to authenticated$statement$
]);

select pg_temp.apply_migration('20261120000354', 'create_charges', array[
$statement$-- Charges of a generation: reserved with its lead, settled with its picture.

create function copperplate.release_for(p_generation_key text, p_accounts uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_over uuid[];
begin
    -- Waited for, not skipped: a sweep that holds one of them is about to release it, and its credit is needed here.
    -- State and time stand outside the subquery, so that they are read again after the wait: a takeover renewed them.
    v_over := array(
        select r.id
        from copperplate.reservations as r
        where
            r.state = 'held' and r.expires_at < copperplate.clock()
            and r.id in (
                select k.id
                from copperplate.reservations as k
                where k.generation_key = p_generation_key and k.state = 'held'
                union all
                select l.id
                from copperplate.reservations as l
                where
                    l.account_id = any(p_accounts) and l.state = 'held' and l.expires_at < v_now
                    and copperplate.is_lapsed(l)
            )
        order by r.id
        for update of r
    );
    if v_over = '{}' then
        return;
    end if;
    -- The accounts that are charged next as well, in one order with those that get something back.
    perform from copperplate.accounts as a
    where
        a.id = any(p_accounts)
        or a.id in (select r.account_id from copperplate.reservations as r where r.id = any(v_over))
    order by a.id
    for no key update;
    perform copperplate.release_all(v_over);
end;
$$$statement$,
$statement$comment on function copperplate.release_for(text, uuid[]) is
'Before a reservation is made: release what lapsed of these accounts, and what was held too long for this generation,
whose lease is the caller''s by now.'$statement$,
$statement$revoke all on function copperplate.release_for(text, uuid[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.release_for(text, uuid[]) to service_role$statement$,
$statement$create function copperplate.inherit_charges(p_generation_key text, p_charges jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_is_held boolean;
    v_has_lapsed boolean;
begin
    -- Hardly ever is there anything to inherit or to release, and one look is cheaper than writing nothing.
    select
        exists (
            select from copperplate.reservations as k
            where k.generation_key = p_generation_key and k.state = 'held'
        ),
        exists (
            select from copperplate.accounts as a
            inner join copperplate.reservations as l on a.id = l.account_id
            where
                a.user_id = any(array(select c.user_id from jsonb_to_recordset(p_charges) as c (user_id uuid)))
                and l.state = 'held' and l.expires_at < v_now
        )
    into v_is_held, v_has_lapsed;

    if v_is_held then
        -- Written and not only looked at: a sweep that is about to release it has either done so when this returns, or
        -- finds that it may not. `is true` keeps the index by time out: of a table without statistics it would be read
        -- to its end.
        update copperplate.reservations as r
        set expires_at = v_now + interval '15 minutes'
        where r.generation_key = p_generation_key and r.state = 'held' and (r.expires_at >= v_now) is true;
        if found then
            return true;
        end if;
    end if;
    if v_is_held or v_has_lapsed then
        perform copperplate.release_for(p_generation_key, array(
            select a.id
            from copperplate.accounts as a
            where a.user_id = any(array(select c.user_id from jsonb_to_recordset(p_charges) as c (user_id uuid)))
        ));
    end if;
    return false;
end;
$$$statement$,
$statement$comment on function copperplate.inherit_charges(text, jsonb) is
'Whether a takeover inherits what the first leader reserved, within its time. If not, what lapsed of the payers is
released, and what was held too long for this generation.'$statement$,
$statement$revoke all on function copperplate.inherit_charges(text, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.inherit_charges(text, jsonb) to service_role$statement$,
$statement$create function copperplate.can_pay(p_generation_key text, p_charges jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- By a look, so that who cannot pay writes nothing. Lapsed credits are summed only where they are needed.
    return not exists (
        select from (
            select c.user_id, sum(c.amount) as amount
            from jsonb_to_recordset(p_charges) as c (kind text, user_id uuid, amount bigint)
            where c.kind = 'credit'
            group by c.user_id
        ) as c
        left join copperplate.accounts as a on c.user_id = a.user_id
        where
            (a.balance - a.held >= c.amount) is not true
            and (a.balance - a.held + copperplate.lapsed_credits(a.id) >= c.amount) is not true
    ) or exists (
        -- Inherited: its predecessor paid.
        select from copperplate.reservations as k
        where k.generation_key = p_generation_key and k.state = 'held' and k.expires_at >= copperplate.clock()
    );
end;
$$$statement$,
$statement$comment on function copperplate.can_pay(text, jsonb) is
'Whether a look finds enough credits for these charges, lapsed ones included, or that they are inherited.'$statement$,
$statement$revoke all on function copperplate.can_pay(text, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.can_pay(text, jsonb) to service_role$statement$,
$statement$create function copperplate.reserve_charges(p_generation_key text, p_charges jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_charge record;
    v_account uuid;
begin
    if copperplate.inherit_charges(p_generation_key, p_charges) then
        return;
    end if;
    for v_charge in
        select c.kind, c.user_id, c.amount
        from jsonb_to_recordset(p_charges) as c (kind text, user_id uuid, amount bigint)
    loop
        if v_charge.kind is distinct from 'credit' then
            raise exception 'unknown kind of charge' using errcode = 'ZC005', hint = 'Known kinds: credit.';
        end if;
        -- Read and written in one: of two that want the last credit, one finds it gone.
        update copperplate.accounts as a
        set held = a.held + v_charge.amount
        where a.user_id = v_charge.user_id and a.balance - a.held >= v_charge.amount
        returning a.id into v_account;
        if not found then
            raise exception 'not enough credits' using errcode = 'ZC008', hint = 'Grant some, or wait.';
        end if;
        insert into copperplate.reservations (generation_key, kind, account_id, amount, created_at, expires_at)
        select g.prompt_hash, g.kind, v_account, v_charge.amount, v_now, v_now + interval '15 minutes'
        from public.generation_status as g
        where g.prompt_hash = p_generation_key;
    end loop;
end;
$$$statement$,
$statement$comment on function copperplate.reserve_charges(text, jsonb) is
'Reserve what a new leader is charged, [{kind, user_id, amount}], unless a predecessor did; what lapsed of the payers is
released first. ZC008 where an account cannot pay.'$statement$,
$statement$revoke all on function copperplate.reserve_charges(text, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.reserve_charges(text, jsonb) to service_role$statement$,
$statement$create function copperplate.settle_reservation(p_generation_key text, p_url text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_reservation copperplate.reservations;
begin
    update copperplate.reservations as r
    set state = 'settled', closed_at = v_now, generated_url = p_url
    where r.generation_key = p_generation_key and r.state = 'held'
    returning r.* into v_reservation;
    if not found then
        return;
    end if;

    update copperplate.accounts as a
    set balance = a.balance - v_reservation.amount, held = a.held - v_reservation.amount
    where a.id = v_reservation.account_id;
    insert into copperplate.credit_ledger (account_id, delta, kind, ref, created_at)
    values (v_reservation.account_id, -v_reservation.amount, 'settle', v_reservation.id, v_now);
end;
$$$statement$,
$statement$comment on function copperplate.settle_reservation(text, text) is
'The picture is stored: what its generation reserved is taken from the account, once.'$statement$,
$statement$revoke all on function copperplate.settle_reservation(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.settle_reservation(text, text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000355', 'create_refunds', array[
$statement$-- Credits that go back to their account: what failed, lapsed, or was gone before it was delivered.

create function copperplate.give_back(p_reservation uuid)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_before copperplate.reservations;
begin
    select r.* into v_before
    from copperplate.reservations as r
    where r.id = p_reservation
    for update;
    if v_before.state is null or v_before.delivered_at is not null then
        return false;
    elsif v_before.state in ('released', 'refunded') then
        return true;
    end if;

    update copperplate.reservations as r
    set state = case v_before.state when 'held' then 'released' else 'refunded' end, closed_at = v_now
    where r.id = p_reservation;
    if v_before.state = 'held' then
        update copperplate.accounts as a
        set held = a.held - v_before.amount
        where a.id = v_before.account_id;
    else
        update copperplate.accounts as a
        set balance = a.balance + v_before.amount
        where a.id = v_before.account_id;
        insert into copperplate.credit_ledger (account_id, delta, kind, ref, created_at)
        values (v_before.account_id, v_before.amount, 'refund', p_reservation, v_now);
    end if;
    return true;
end;
$$$statement$,
$statement$comment on function copperplate.give_back(uuid) is
'Release what is held, refund what was settled and not delivered; false where it was delivered, or there is no such
reservation. A repeat answers the same and changes nothing.'$statement$,
$statement$revoke all on function copperplate.give_back(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.give_back(uuid) to service_role$statement$,
$statement$create function copperplate.release_all(p_reservations uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform copperplate.give_back(o.id)
    from (
        select r.id
        from copperplate.reservations as r
        where r.id = any(p_reservations)
        order by r.account_id, r.id
    ) as o;
end;
$$$statement$,
$statement$comment on function copperplate.release_all(uuid[]) is
'Give these reservations back, accounts in one order. The caller has locked every one of them.'$statement$,
$statement$revoke all on function copperplate.release_all(uuid[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.release_all(uuid[]) to service_role$statement$,
$statement$create function copperplate.give_back_all(p_generation_keys text[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    v_reservations uuid[];
begin
    -- Every reservation before the first account, and accounts in one order: two of these never wait for each other,
    -- nor does a sweep, which skips the reservations that are locked here.
    v_reservations := array(
        select r.id
        from copperplate.reservations as r
        where
            r.generation_key = any(p_generation_keys)
            and (r.state = 'held' or (r.state = 'settled' and r.delivered_at is null))
        order by r.id
        for update
    );
    if v_reservations <> '{}' then
        perform copperplate.release_all(v_reservations);
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.give_back_all(text[]) is
'Give back what these generations hold or never delivered: they failed, or are gone.'$statement$,
$statement$revoke all on function copperplate.give_back_all(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.give_back_all(text[]) to service_role$statement$,
$statement$create function copperplate.note_pictures_gone(p_generation_keys text[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    update copperplate.reservations as r
    set generated_url = null
    where r.generation_key = any(p_generation_keys) and r.generated_url is not null;
    perform copperplate.give_back_all(p_generation_keys);
end;
$$$statement$,
$statement$comment on function copperplate.note_pictures_gone(text[]) is
'These generations have no picture any more: give back what was never delivered, and forget the addresses.'$statement$,
$statement$revoke all on function copperplate.note_pictures_gone(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_pictures_gone(text[]) to service_role$statement$,
$statement$create function copperplate.release_expired(p_limit integer)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_expired uuid[];
begin
    v_expired := array(
        select r.id
        from copperplate.reservations as r
        where r.state = 'held' and r.expires_at < copperplate.clock() and copperplate.is_lapsed(r)
        limit p_limit
        for update skip locked
    );
    perform copperplate.release_all(v_expired);
    return cardinality(v_expired);
end;
$$$statement$,
$statement$comment on function copperplate.release_expired(integer) is
'Release what is held for generations that nobody works on any more; at most p_limit; answers how many.'$statement$,
$statement$revoke all on function copperplate.release_expired(integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.release_expired(integer) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000356', 'create_credit_functions', array[
$statement$-- What operators and the server call about credits.

create function public.get_credits(p_user uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'balance', coalesce(max(a.balance), 0),
        'held', coalesce(max(a.held - l.credits), 0),
        'available', coalesce(max(a.balance - a.held + l.credits), 0)
    )
    from copperplate.accounts as a
    cross join lateral copperplate.lapsed_credits(a.id) as l (credits)
    where a.user_id = p_user;
$$$statement$,
$statement$comment on function public.get_credits(uuid) is
'What a user has: balance, held by generations under way, and available, the rest. Zero for a user nobody granted any.'$statement$,
$statement$revoke all on function public.get_credits(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function public.get_credits(uuid) to service_role$statement$,
$statement$create function public.grant_credits(p_user uuid, p_amount bigint, p_ref text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_account uuid;
begin
    if (p_amount between 1 and 1000000000 and length(p_ref) between 1 and 200) is not true then
        raise exception 'not a grant'
            using errcode = 'ZC009', hint = 'Grant 1 to 1000000000 credits, with a reference of 1 to 200 characters.';
    elsif strpos(replace(lower(p_ref), '-', ''), replace(p_user::text, '-', '')) > 0 then
        -- The ledger is kept when the user is forgotten.
        raise exception 'the reference names the user'
            using errcode = 'ZC009', hint = 'Use the number of an order, or whatever else says nothing of a person.';
    end if;
    v_account := copperplate.open_account(p_user);

    -- The ledger's row first: of two that give the same reference, the second waits here and finds it.
    insert into copperplate.credit_ledger (account_id, delta, kind, ref, created_at)
    values (v_account, p_amount, 'grant', p_ref, copperplate.clock())
    on conflict (kind, ref) do nothing;
    if found then
        update copperplate.accounts as a set balance = a.balance + p_amount where a.id = v_account;
    elsif not exists (
        select from copperplate.credit_ledger as l
        where l.kind = 'grant' and l.ref = p_ref and l.account_id = v_account and l.delta = p_amount
    ) then
        raise exception 'this reference stands for another grant'
            using errcode = 'ZC009', hint = 'Give every grant a reference of its own.';
    end if;
    return public.get_credits(p_user);
end;
$$$statement$,
$statement$comment on function public.grant_credits(uuid, bigint, text) is
'Give a user credits, once per reference; answers what get_credits answers.'$statement$,
$statement$revoke all on function public.grant_credits(uuid, bigint, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.grant_credits(uuid, bigint, text) to service_role$statement$,
$statement$create function public.refund_credits(p_reservation uuid)
returns boolean
language sql
volatile
security invoker
set search_path = ''
as $$
    select copperplate.give_back(p_reservation);
$$$statement$,
$statement$comment on function public.refund_credits(uuid) is
'Give a reservation''s credits back, once; false where its picture was delivered, or there is no such reservation.'$statement$,
$statement$revoke all on function public.refund_credits(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function public.refund_credits(uuid) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000357', 'create_credit_audit', array[
$statement$-- Sums that must agree. A row here is a fault: of ours, or of a hand that changed a table.
create view copperplate.credit_faults
with (security_invoker = true)
as
with earned as (
    select
        l.account_id,
        sum(l.delta) as total
    from copperplate.credit_ledger as l
    group by l.account_id
),

held as (
    select
        r.account_id,
        sum(r.amount) as total
    from copperplate.reservations as r
    where r.state = 'held'
    group by r.account_id
),

taken as (
    select
        l.account_id,
        l.ref,
        sum(l.delta) as total
    from copperplate.credit_ledger as l
    where l.kind in ('settle', 'refund')
    group by l.account_id, l.ref
),

sums as (
    select
        a.id as account_id,
        'balance is not the sum of the ledger' as fault,
        a.balance as found,
        coalesce(e.total, 0) as expected
    from copperplate.accounts as a
    left join earned as e on a.id = e.account_id
    union all
    select
        a.id as account_id,
        'held is not the sum of open reservations' as fault,
        a.held as found,
        coalesce(h.total, 0) as expected
    from copperplate.accounts as a
    left join held as h on a.id = h.account_id
    union all
    select
        coalesce(r.account_id, t.account_id) as account_id,
        'a reservation and the ledger disagree' as fault,
        coalesce(t.total, 0) as found,
        case r.state when 'settled' then -r.amount else 0 end as expected
    from copperplate.reservations as r
    full join taken as t on r.id::text = t.ref and r.account_id = t.account_id
)

select
    s.account_id,
    s.fault,
    s.found,
    s.expected
from sums as s
where s.found <> s.expected$statement$,
$statement$comment on view copperplate.credit_faults is
'Accounts whose sums do not agree with ledger and reservations; empty, always.'$statement$,
$statement$revoke all on table copperplate.credit_faults from public, anon, authenticated, service_role$statement$,
$statement$grant select on table copperplate.credit_faults to service_role$statement$,
$statement$create function public.audit_credits()
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'accounts', (select count(*) from copperplate.accounts),
        'balance', (select coalesce(sum(a.balance), 0) from copperplate.accounts as a),
        'held', (
            select coalesce(sum(r.amount), 0)
            from copperplate.reservations as r
            where r.state = 'held' and not copperplate.is_lapsed(r)
        ),
        'granted', coalesce(sum(l.delta) filter (where l.kind = 'grant'), 0),
        'settled', coalesce(-sum(l.delta) filter (where l.kind = 'settle'), 0),
        'refunded', coalesce(sum(l.delta) filter (where l.kind = 'refund'), 0),
        'faults', (select coalesce(jsonb_agg(to_jsonb(f)), '[]') from copperplate.credit_faults as f)
    )
    from copperplate.credit_ledger as l;
$$$statement$,
$statement$comment on function public.audit_credits() is
'Sums over all accounts, and faults: accounts whose sums do not agree, of which there should be none. held is what
pictures hold that are being made.'$statement$,
$statement$revoke all on function public.audit_credits() from public, anon, authenticated$statement$,
$statement$grant execute on function public.audit_credits() to service_role$statement$
]);

select pg_temp.apply_migration('20261120000360', 'create_budgets', array[
$statement$-- Budgets: limits of what may be spent, in money and in pictures, each with its counter. Money in millionths of a
-- dollar.
--
-- all                      everything that costs something
-- anonymous                callers nobody knows
-- address:<digest>         one address; SQL keeps a digest with a salt of the day, never the address
-- user:<id>  key:<id>  link:<key id>          one signed-in user, one API key, one key that signs URLs
-- provider:<name>  model:<provider>/<model>   what is asked for
-- prepaid/<any of these>   a cap beside the daily one that nothing resets
--
-- An election reserves the caller's own budgets, a submit books these and the house's: model, provider, all. What is
-- counted is the sum of bookings and reservations; audit_budgets compares them.

-- What an operator set. A program sends its own caps with every election; a value here stands above it.
create table copperplate.budgets (
    name text not null,
    -- Null: not set.
    cap_micro_usd bigint,
    cap_pictures bigint,
    -- Stand instead until then.
    override_micro_usd bigint,
    override_pictures bigint,
    override_until timestamptz,
    updated_at timestamptz not null,
    constraint budgets_pkey primary key (name),
    constraint budgets_caps_are_in_range check (
        cap_micro_usd between 0 and 1000000000000000 and cap_pictures between 0 and 1000000000000000
        and override_micro_usd between 0 and 1000000000000000 and override_pictures between 0 and 1000000000000000
    ),
    constraint budgets_override_has_end check (
        (override_until is null) = (override_micro_usd is null and override_pictures is null)
    )
)$statement$,
$statement$comment on table copperplate.budgets is
'Caps an operator set, by budget: of money in millionths of a dollar, and of pictures, a day (UTC); null is not set.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.budgets enable row level security$statement$,
$statement$revoke all on table copperplate.budgets from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.budgets to service_role$statement$,
$statement$-- The counter of a budget and day, split into stripes so that elections do not wait for each other's commit. A stripe
-- may spend what is allowed to it. All that is allowed to the stripes of a day is never more than the cap, or where
-- bills exceeded it, than what was spent.
create table copperplate.budget_usage (
    budget text not null,
    -- UTC; -infinity for what nothing resets.
    day date not null,
    stripe integer not null,
    -- One stripe may go below zero where a bill was lower than its booking: only the sum has a meaning.
    spent_micro_usd bigint not null default 0,
    pictures bigint not null default 0,
    -- Null: no cap.
    allowed_micro_usd bigint,
    allowed_pictures bigint,
    -- The limits that were shared out, resets included.
    limit_micro_usd bigint,
    limit_pictures bigint,
    constraint budget_usage_pkey primary key (budget, day, stripe)
) with (fillfactor = 50)$statement$,
$statement$-- For the list of a day, and for what is old. No update changes a day, so counting stays within its page.
create index budget_usage_day_idx on copperplate.budget_usage (day)$statement$,
$statement$create index budget_usage_address_idx on copperplate.budget_usage (day) where budget like 'address:%'$statement$,
$statement$create index budget_usage_stripe_idx on copperplate.budget_usage (day) where stripe > 0$statement$,
$statement$comment on table copperplate.budget_usage is
'What of each budget was used on each day (UTC): the sums over its stripes, reservations included. Money in millionths
of a dollar. Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.budget_usage enable row level security$statement$,
$statement$revoke all on table copperplate.budget_usage from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.budget_usage to service_role$statement$,
$statement$-- A reset by hand raises the limit of its day by what was settled: counters stay equal to what was booked.
create table copperplate.budget_resets (
    budget text not null,
    day date not null,
    micro_usd bigint not null,
    pictures bigint not null,
    constraint budget_resets_pkey primary key (budget, day)
)$statement$,
$statement$comment on table copperplate.budget_resets is
'By how much a reset raised the limits of a budget on a day. Row-level security is on without a policy: only
service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.budget_resets enable row level security$statement$,
$statement$revoke all on table copperplate.budget_resets from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.budget_resets to service_role$statement$,
$statement$-- Without it a digest could be tried against every address there is; once it is removed, nobody can.
create table copperplate.address_salts (
    day date not null,
    -- Two random ids are 244 random bits.
    salt bytea not null default uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
    constraint address_salts_pkey primary key (day)
)$statement$,
$statement$comment on table copperplate.address_salts is
'Random salts of the digests that stand for addresses, one a day (UTC), made when first needed and removed a day later.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.address_salts enable row level security$statement$,
$statement$revoke all on table copperplate.address_salts from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, delete on table copperplate.address_salts to service_role$statement$,
$statement$create function copperplate.make_salts(p_day date)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- Of tomorrow as well: at midnight nobody is to wait for whoever comes first.
    if (select count(*) from copperplate.address_salts as s where s.day in (p_day, p_day + 1)) < 2 then
        insert into copperplate.address_salts (day) values (p_day), (p_day + 1) on conflict (day) do nothing;
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.make_salts(date) is 'Makes the salts of this day and the next, where there are none.'$statement$,
$statement$revoke all on function copperplate.make_salts(date) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.make_salts(date) to service_role$statement$,
$statement$-- Locks are taken in this order, older days first, and after them what nothing resets. The name as sent or as stored:
-- only its kind matters.
create function copperplate.budget_rank(p_name text)
returns integer
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return case split_part(case when p_name like 'prepaid/%' then substr(p_name, 9) else p_name end, ':', 1)
        when 'user' then 1
        when 'address' then 2
        when 'key' then 3
        when 'link' then 3
        when 'anonymous' then 4
        when 'model' then 5
        when 'provider' then 6
        else 7
    end;
end;
$$$statement$,
$statement$comment on function copperplate.budget_rank(text) is
'The place of a budget in the order of locks: the caller''s own first, everything last.'$statement$,
$statement$revoke all on function copperplate.budget_rank(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.budget_rank(text) to service_role$statement$,
$statement$create function copperplate.budget_day(p_name text, p_day date)
returns date
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return case when p_name like 'prepaid/%' then '-infinity' else p_day end;
end;
$$$statement$,
$statement$comment on function copperplate.budget_day(text, date) is
'The day under which a budget counts what is spent on p_day: -infinity where nothing resets it.'$statement$,
$statement$revoke all on function copperplate.budget_day(text, date) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.budget_day(text, date) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000361', 'create_forgotten_users', array[
$statement$-- Users who were forgotten, while a token of theirs may still be good: no booking is to name them again.

create table copperplate.forgotten_users (
    -- Of the budget's name; from it nobody finds an id of 122 random bits.
    digest bytea not null,
    forgotten_at timestamptz not null,
    constraint forgotten_users_pkey primary key (digest)
)$statement$,
$statement$comment on table copperplate.forgotten_users is
'Digests of users who were forgotten in the last 35 days: they may spend nothing. Row-level security is on without a
policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.forgotten_users enable row level security$statement$,
$statement$revoke all on table copperplate.forgotten_users from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.forgotten_users to service_role$statement$,
$statement$-- Before any row: forget_user holds the same lock alone while it waits for rows. One of 1024, as a deletion of many
-- users in one transaction has room for so many locks.
create function copperplate.hold_user(p_spending jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- A caller names a user first.
    v_name text := p_spending #>> '{budgets,0,name}';
begin
    if v_name like 'user:%' then
        perform pg_advisory_xact_lock_shared(1129271873, hashtext(v_name) & 1023);
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.hold_user(jsonb) is
'Until the transaction ends, nobody forgets the user who spends p_spending; waits for who does.'$statement$,
$statement$revoke all on function copperplate.hold_user(jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.hold_user(jsonb) to service_role$statement$,
$statement$create function copperplate.note_forgotten(p_name text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform pg_advisory_xact_lock(1129271873, hashtext(p_name) & 1023);
    insert into copperplate.forgotten_users as f (digest, forgotten_at)
    values (sha256(convert_to(p_name, 'UTF8')), copperplate.clock())
    on conflict (digest) do update set forgotten_at = excluded.forgotten_at;
end;
$$$statement$,
$statement$comment on function copperplate.note_forgotten(text) is
'Wait for what spends from the budget of a user, and let nothing more be spent from it.'$statement$,
$statement$revoke all on function copperplate.note_forgotten(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_forgotten(text) to service_role$statement$,
$statement$create function copperplate.is_forgotten(p_name text)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return exists (
        select from copperplate.forgotten_users as f where f.digest = sha256(convert_to(p_name, 'UTF8'))
    );
end;
$$$statement$,
$statement$comment on function copperplate.is_forgotten(text) is 'Whether the user with this budget was forgotten.'$statement$,
$statement$revoke all on function copperplate.is_forgotten(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.is_forgotten(text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000365', 'create_budget_states', array[
$statement$-- What is left of budgets, and who is refused for it: reads alone.

-- One of the budgets that a caller names, as it stands.
create type copperplate.budget_state as (
    -- As sent, and as stored; null where there is no salt yet, and so nothing used.
    name text,
    budget text,
    day date,
    is_own boolean,
    cap_micro_usd bigint,
    cap_pictures bigint,
    -- The cap, and what resets added; null without a cap.
    limit_micro_usd bigint,
    limit_pictures bigint,
    -- Without what the asking generation itself reserved.
    used_micro_usd bigint,
    used_pictures bigint
)$statement$,
$statement$comment on type copperplate.budget_state is 'The caps of a budget and what is used of them.'$statement$,
$statement$revoke all on type copperplate.budget_state from public, anon, authenticated$statement$,
$statement$grant usage on type copperplate.budget_state to service_role$statement$,
$statement$-- What a look at all budgets of a caller finds.
create type copperplate.budget_look as (
    refusal jsonb,
    near_caps jsonb,
    -- Whether the room is what lapsed reservations hold.
    needs_lapsed boolean,
    lacks_salt boolean,
    day date,
    states copperplate.budget_state array,
    -- As they are stored: the caller's own, and all of them.
    own text array,
    budgets text array
)$statement$,
$statement$comment on type copperplate.budget_look is 'What a look at the budgets of a caller finds.'$statement$,
$statement$revoke all on type copperplate.budget_look from public, anon, authenticated$statement$,
$statement$grant usage on type copperplate.budget_look to service_role$statement$,
$statement$-- Of a cap as many thousandths as are set; in two parts, so that no cap is too high for it.
create function copperplate.share(p_cap bigint, p_permille integer)
returns bigint
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return p_cap / 1000 * p_permille + p_cap % 1000 * p_permille / 1000;
end;
$$$statement$,
$statement$comment on function copperplate.share(bigint, integer) is 'So many thousandths of a cap; null of none.'$statement$,
$statement$revoke all on function copperplate.share(bigint, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.share(bigint, integer) to service_role$statement$,
$statement$create function copperplate.address_budget(p_name text, p_day date)
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return 'address:' || left(encode(sha256(s.salt || convert_to(p_name, 'UTF8')), 'hex'), 40)
    from copperplate.address_salts as s
    where s.day = p_day;
end;
$$$statement$,
$statement$comment on function copperplate.address_budget(text, date) is
'The name under which the budget of an address is stored on a day; null where that has no salt yet.'$statement$,
$statement$revoke all on function copperplate.address_budget(text, date) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.address_budget(text, date) to service_role$statement$,
$statement$create function copperplate.set_caps(p_budgets jsonb, p_now timestamptz)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return jsonb_object_agg(b.name, jsonb_build_object(
        -- An override stands until its end.
        'micro_usd', coalesce(case when b.override_until > p_now then b.override_micro_usd end, b.cap_micro_usd),
        'pictures', coalesce(case when b.override_until > p_now then b.override_pictures end, b.cap_pictures),
        'reset_micro_usd', coalesce(r.micro_usd, 0),
        'reset_pictures', coalesce(r.pictures, 0)
    ))
    from jsonb_to_recordset(p_budgets) as a (name text)
    inner join copperplate.budgets as b on b.name in (a.name, 'prepaid/' || a.name)
    left join copperplate.budget_resets as r
        on b.name = r.budget and copperplate.budget_day(b.name, (p_now at time zone 'UTC')::date) = r.day;
end;
$$$statement$,
$statement$comment on function copperplate.set_caps(jsonb, timestamptz) is
'What operators did to these budgets and to the prepaid ones beside them, by name; null where they did nothing.'$statement$,
$statement$revoke all on function copperplate.set_caps(jsonb, timestamptz) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.set_caps(jsonb, timestamptz) to service_role$statement$,
$statement$create function copperplate.limited(
    p_name text, p_budget text, p_day date, p_is_own boolean, p_cap_micro_usd bigint, p_cap_pictures bigint,
    p_set jsonb, p_used_micro_usd bigint, p_used_pictures bigint, p_reserved jsonb
)
returns copperplate.budget_state
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
    c_most constant bigint := 1000000000000000;
    v_is_ours boolean := p_reserved -> 'budgets' ? p_budget
    and (p_day = '-infinity' or (p_reserved ->> 'day')::date = p_day);
begin
    return row(
        p_name, p_budget, p_day, p_is_own, p_cap_micro_usd, p_cap_pictures,
        -- A cap of zero refuses, whatever was reset; of one that nobody can spend the sums are to fit.
        case
            when p_cap_micro_usd > 0
                then least(p_cap_micro_usd, c_most) + coalesce((p_set ->> 'reset_micro_usd')::bigint, 0)
            else p_cap_micro_usd
        end,
        case
            when p_cap_pictures > 0
                then least(p_cap_pictures, c_most) + coalesce((p_set ->> 'reset_pictures')::bigint, 0)
            else p_cap_pictures
        end,
        coalesce(p_used_micro_usd, 0) - case when v_is_ours then (p_reserved ->> 'amount_micro_usd')::bigint else 0 end,
        coalesce(p_used_pictures, 0) - case when v_is_ours then 1 else 0 end
    )::copperplate.budget_state;
end;
$$$statement$,
$statement$comment on function copperplate.limited(
    text, text, date, boolean, bigint, bigint, jsonb, bigint, bigint, jsonb
) is
'A budget with its limits: its caps, and what resets added; without what the asking generation reserved.'$statement$,
$statement$revoke all on function copperplate.limited(text, text, date, boolean, bigint, bigint, jsonb, bigint, bigint, jsonb)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.limited(
    text, text, date, boolean, bigint, bigint, jsonb, bigint, bigint, jsonb
) to service_role$statement$,
$statement$-- Read at every miss, so the statement for what is used stays small: starting it costs more than its look-ups.
create function copperplate.budget_states(p_budgets jsonb, p_now timestamptz, p_reserved jsonb default null)
returns copperplate.budget_state array
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_day date := (p_now at time zone 'UTC')::date;
    v_states copperplate.budget_state [] := array[]::copperplate.budget_state [];
    v_caps jsonb := jsonb_build_object();
    v_set jsonb;
    v record;
begin
    if exists (select from copperplate.budgets) then
        v_set := copperplate.set_caps(p_budgets, p_now);
    end if;
    -- From the last to the first: whose share a budget is stands after it.
    for v in
        select
            a.name, a.cap_micro_usd, a.cap_pictures, a.share_of, a.permille, coalesce(a.is_own, false) as is_own,
            a.budget, a.day, u.micro_usd, u.pictures
        from (
            select
                r.*, case when r.name like 'prepaid/%' then '-infinity' else v_day end as day,
                case
                    when r.name like 'address:%' then copperplate.address_budget(r.name, v_day) else r.name
                end as budget
            from rows from (
                jsonb_to_recordset(p_budgets) as (
                    name text, cap_micro_usd bigint, cap_pictures bigint, share_of text, permille integer, is_own boolean
                )
            ) with ordinality as r
        ) as a
        cross join lateral (
            select sum(s.spent_micro_usd)::bigint as micro_usd, sum(s.pictures)::bigint as pictures
            from copperplate.budget_usage as s
            where s.budget = a.budget and s.day = a.day
        ) as u
        order by a.ordinality desc
    loop
        if v_set ? v.name then
            v.cap_micro_usd := coalesce((v_set -> v.name ->> 'micro_usd')::bigint, v.cap_micro_usd);
            v.cap_pictures := coalesce((v_set -> v.name ->> 'pictures')::bigint, v.cap_pictures);
        end if;
        if v.share_of is not null and v.cap_micro_usd is null then
            v.cap_micro_usd := copperplate.share((v_caps ->> v.share_of)::bigint, v.permille);
        end if;
        v_caps := v_caps || jsonb_build_object(v.name, v.cap_micro_usd);
        if v.name like 'user:%' and copperplate.is_forgotten(v.name) then
            v.cap_micro_usd := 0;
        end if;
        if v_set ? ('prepaid/' || v.name) then
            v_states := copperplate.prepaid_state('prepaid/' || v.name, v.is_own, v_set, p_reserved) || v_states;
        end if;
        v_states := copperplate.limited(
            v.name, v.budget, v.day, v.is_own, v.cap_micro_usd, v.cap_pictures, v_set -> v.name, v.micro_usd,
            v.pictures, p_reserved
        ) || v_states;
    end loop;
    return v_states;
end;
$$$statement$,
$statement$comment on function copperplate.budget_states(jsonb, timestamptz, jsonb) is
'The state of each of these budgets, [{name, cap_micro_usd, cap_pictures, share_of, permille, is_own}], and after it
that of the prepaid one beside it; p_reserved, of the asking generation, counts as free. A cap in pictures has no shares.'$statement$,
$statement$revoke all on function copperplate.budget_states(jsonb, timestamptz, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.budget_states(jsonb, timestamptz, jsonb) to service_role$statement$,
$statement$-- Counts from the moment it is set.
create function copperplate.prepaid_state(p_name text, p_is_own boolean, p_set jsonb, p_reserved jsonb)
returns copperplate.budget_state
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return copperplate.limited(
        p_name, p_name, '-infinity', p_is_own, (p_set -> p_name ->> 'micro_usd')::bigint,
        (p_set -> p_name ->> 'pictures')::bigint, p_set -> p_name, sum(s.spent_micro_usd)::bigint,
        sum(s.pictures)::bigint, p_reserved
    )
    from copperplate.budget_usage as s
    where s.budget = p_name and s.day = '-infinity';
end;
$$$statement$,
$statement$comment on function copperplate.prepaid_state(text, boolean, jsonb, jsonb) is
'The state of the prepaid budget beside a daily one.'$statement$,
$statement$revoke all on function copperplate.prepaid_state(text, boolean, jsonb, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.prepaid_state(text, boolean, jsonb, jsonb) to service_role$statement$,
$statement$-- What generations under way may give back yet: reservations, and the bookings of submits whose bill is not known. Of
-- a lease that ran out it is the reservation alone: its submit may have been billed.
create function copperplate.unsettled(p_budgets text[], p_day date, p_key text)
returns table (budget text, is_lapsed boolean, micro_usd bigint, pictures bigint)
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    return query
    select n.name, not h.is_live, sum(h.micro_usd)::bigint, count(*)
    from public.generation_status as g
    cross join lateral (
        select
            array(select jsonb_array_elements_text(g.reserved -> 'budgets')) as budgets,
            (g.reserved ->> 'day')::date as day, (g.reserved ->> 'amount_micro_usd')::bigint as micro_usd,
            g.lease_until > v_now as is_live
        where g.reserved -> 'budgets' ?| p_budgets
        union all
        (
            select
                s.budgets, (s.sent_at at time zone 'UTC')::date,
                case when s.cost_micro_usd is null then s.booked_micro_usd end, true
            from copperplate.submits as s
            where s.generation_key = g.prompt_hash and g.status = 'generating' and g.lease_until > v_now
            order by s.id desc
            limit 1
        )
    ) as h
    inner join lateral unnest(h.budgets) as n (name) on n.name = any(p_budgets)
    where
        g.status in ('pending', 'generating') and g.prompt_hash is distinct from p_key
        and h.micro_usd is not null and (h.day = p_day or n.name like 'prepaid/%')
    group by n.name, h.is_live;
end;
$$$statement$,
$statement$comment on function copperplate.unsettled(text[], date, text) is
'What generations hold of these budgets on a day and may give back, other than the one with p_key: while they are led,
and where their lease ran out and the reservation counts as free.'$statement$,
$statement$revoke all on function copperplate.unsettled(text[], date, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.unsettled(text[], date, text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000366', 'create_budget_refusals', array[
$statement$-- Who is refused by a budget, told without a lock and before anything is written.

create function copperplate.is_closed(p_state copperplate.budget_state)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return coalesce(0 in (p_state.cap_micro_usd, p_state.cap_pictures), false);
end;
$$$statement$,
$statement$comment on function copperplate.is_closed(copperplate.budget_state) is
'Whether a cap of zero refuses everything, whatever is reset.'$statement$,
$statement$revoke all on function copperplate.is_closed(copperplate.budget_state) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.is_closed(copperplate.budget_state) to service_role$statement$,
$statement$create function copperplate.refusal(
    p_state copperplate.budget_state, p_reason text, p_used_micro_usd bigint, p_used_pictures bigint,
    p_now timestamptz
)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
    -- Midnight opens nothing that was closed.
    v_resets_at timestamptz := case
        when p_state.day > '-infinity' and not copperplate.is_closed(p_state)
            then (p_state.day + 1)::timestamp at time zone 'UTC'
    end;
begin
    return jsonb_build_object(
        'reason', p_reason,
        -- An address is in no answer.
        'budget', case when p_state.name like 'address:%' then 'address' else p_state.name end,
        'cap_micro_usd', p_state.cap_micro_usd,
        'left_micro_usd', case
            when p_state.cap_micro_usd > 0 then greatest(p_state.limit_micro_usd - p_used_micro_usd, 0)
            else p_state.cap_micro_usd
        end,
        'cap_pictures', p_state.cap_pictures,
        'left_pictures', case
            when p_state.cap_pictures > 0 then greatest(p_state.limit_pictures - p_used_pictures, 0)
            else p_state.cap_pictures
        end,
        'resets_at', to_char(v_resets_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        'retry_after_ms', case
            when p_reason <> 'used_up' then 5000
            -- Somebody has to put something in, or to open it.
            when v_resets_at is null then 3600000
            else ceil(extract(epoch from v_resets_at - p_now) * 1000)::bigint
        end
    );
end;
$$$statement$,
$statement$comment on function copperplate.refusal(copperplate.budget_state, text, bigint, bigint, timestamptz) is
'What a caller is told whom a budget refuses: used_up, in_flight or too_many, what is left, and when to come again.'$statement$,
$statement$revoke all on function copperplate.refusal(copperplate.budget_state, text, bigint, bigint, timestamptz)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.refusal(copperplate.budget_state, text, bigint, bigint, timestamptz)
to service_role$statement$,
$statement$-- The slow half of the look, for who finds no room: what lapsed is free, and what is under way may come back.
create function copperplate.look_again(
    p_look copperplate.budget_look, p_amount bigint, p_now timestamptz, p_key text
)
returns copperplate.budget_look
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v copperplate.budget_look := p_look;
    v_short record;
    v_lasting integer;
    v_most_lasting integer := 0;
begin
    for v_short in
        with short as (
            select s.*
            from unnest(p_look.states) with ordinality as s (
                name, budget, day, is_own, cap_micro_usd, cap_pictures, limit_micro_usd, limit_pictures,
                used_micro_usd, used_pictures, place
            )
            where not copperplate.has_room(p_look.states[s.place], p_amount, 0, 0)
        ),

        held as (
            select
                h.budget,
                coalesce(sum(h.micro_usd) filter (where h.is_lapsed), 0)::bigint as lapsed,
                coalesce(sum(h.pictures) filter (where h.is_lapsed), 0)::bigint as lapsed_pictures,
                sum(h.micro_usd)::bigint as all_of_it, sum(h.pictures)::bigint as all_pictures
            from copperplate.unsettled(array(select s.budget from short as s), p_look.day, p_key) as h
            group by h.budget
        )

        select
            s.place, s.used_micro_usd - coalesce(h.lapsed, 0) as used_micro_usd,
            s.used_pictures - coalesce(h.lapsed_pictures, 0) as used_pictures,
            h.budget is not null
            and copperplate.has_room(p_look.states[s.place], p_amount, h.lapsed, h.lapsed_pictures) as has_room,
            h.budget is not null
            and copperplate.has_room(p_look.states[s.place], p_amount, h.all_of_it, h.all_pictures) as is_in_flight
        from short as s
        left join held as h on s.budget = h.budget
        order by s.place
    loop
        if v_short.has_room then
            v.needs_lapsed := true;
            continue;
        end if;
        -- What lasts longest is told, and of that the widest, which stands last: neither midnight nor another key helps.
        v_lasting := case
            when copperplate.is_closed(p_look.states[v_short.place]) then 3
            when not v_short.is_in_flight then 2
            else 1
        end;
        if v_lasting >= v_most_lasting then
            v_most_lasting := v_lasting;
            v.refusal := copperplate.refusal(
                p_look.states[v_short.place], case when v_lasting = 1 then 'in_flight' else 'used_up' end,
                v_short.used_micro_usd, v_short.used_pictures, p_now
            );
        end if;
    end loop;
    return v;
end;
$$$statement$,
$statement$comment on function copperplate.look_again(copperplate.budget_look, bigint, timestamptz, text) is
'Of the budgets without room: whether lapsed reservations make it, or else the refusal.'$statement$,
$statement$revoke all on function copperplate.look_again(copperplate.budget_look, bigint, timestamptz, text)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.look_again(copperplate.budget_look, bigint, timestamptz, text) to service_role$statement$,
$statement$create function copperplate.has_room(
    p_state copperplate.budget_state, p_amount bigint, p_free_micro_usd bigint, p_free_pictures bigint
)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return (
        p_state.cap_micro_usd > 0 and p_state.used_micro_usd - p_free_micro_usd + p_amount <= p_state.limit_micro_usd
    ) is not false
    and (
        p_state.cap_pictures > 0 and p_state.used_pictures - p_free_pictures + 1 <= p_state.limit_pictures
    ) is not false;
end;
$$$statement$,
$statement$comment on function copperplate.has_room(copperplate.budget_state, bigint, bigint, bigint) is
'Whether one more picture of this amount fits, where so much of what is used were free. A cap of zero has no room.'$statement$,
$statement$revoke all on function copperplate.has_room(copperplate.budget_state, bigint, bigint, bigint)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.has_room(copperplate.budget_state, bigint, bigint, bigint) to service_role$statement$,
$statement$create function copperplate.find_refusal(p_spending jsonb, p_now timestamptz, p_key text, p_reserved jsonb)
returns copperplate.budget_look
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v copperplate.budget_look;
    v_amount bigint := (p_spending ->> 'amount_micro_usd')::bigint;
    v_state copperplate.budget_state;
    v_is_short boolean := false;
    v_permille bigint;
begin
    -- Closed where it cannot be told: a program that does not know what it spends may not.
    if (v_amount between 0 and 1000000000000000) is not true then
        raise exception 'the amount to spend is not known'
            using errcode = 'ZC012', hint = 'Send amount_micro_usd, from 0 to 1000000000000000.';
    end if;
    v.day := (p_now at time zone 'UTC')::date;
    v.states := copperplate.budget_states(p_spending -> 'budgets', p_now, p_reserved);
    foreach v_state in array v.states loop
        v.budgets := v.budgets || v_state.budget;
        if v_state.is_own then
            v.own := v.own || v_state.budget;
        end if;
        v.lacks_salt := v.lacks_salt or v_state.budget is null;
        if
            (v_state.cap_micro_usd > 0 and v_state.used_micro_usd + v_amount <= v_state.limit_micro_usd) is false
            or (v_state.cap_pictures > 0 and v_state.used_pictures < v_state.limit_pictures) is false
        then
            v_is_short := true;
        end if;
        v_permille := greatest(
            (v_state.used_micro_usd + v_amount) * 1000 / nullif(v_state.limit_micro_usd, 0),
            (v_state.used_pictures + 1) * 1000 / nullif(v_state.limit_pictures, 0)
        );
        -- Addresses and users are many, and in no line.
        if v_permille >= 800 and v_state.name !~ '^(prepaid/)?(address|user):' then
            v.near_caps := coalesce(v.near_caps, '[]')
                || jsonb_build_object('budget', v_state.name, 'permille', v_permille);
        end if;
    end loop;
    return case when v_is_short then copperplate.look_again(v, v_amount, p_now, p_key) else v end;
end;
$$$statement$,
$statement$comment on function copperplate.find_refusal(jsonb, timestamptz, text, jsonb) is
'Look whether budgets have room for p_spending, {amount_micro_usd, max_in_flight, budgets}: null as refusal where all
have room, or would by what lapsed. Volatile, as each call is to see what was committed before it.'$statement$,
$statement$revoke all on function copperplate.find_refusal(jsonb, timestamptz, text, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.find_refusal(jsonb, timestamptz, text, jsonb) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000370', 'create_bookings', array[
$statement$-- What is counted in budgets: booked where it fits, given back, corrected by bills.
--
-- A limit is one number for a budget and day, kept through shares: each stripe may spend up to its own allowed_*, and
-- the sum of all allowed_* never exceeds the limit, or what was spent where bills exceeded it. So a booking holds one
-- stripe, asks nobody else (fits), and the sum stays under the limit. limit_* of a stripe is the limit that its
-- share was cut from. Where that is no longer the limit, or no stripe has room for a booking though the sum has,
-- rebalance holds all stripes, in order, compares the sum with the limit and cuts new shares (share_room).

-- By how much one counter changes. Bound: only where it fits under the limits; otherwise it is a fact to be counted.
create type copperplate.budget_change as (
    budget text,
    day date,
    micro_usd bigint,
    pictures bigint,
    limit_micro_usd bigint,
    limit_pictures bigint,
    is_bound boolean
)$statement$,
$statement$comment on type copperplate.budget_change is 'By how much the counter of a budget changes.'$statement$,
$statement$revoke all on type copperplate.budget_change from public, anon, authenticated$statement$,
$statement$grant usage on type copperplate.budget_change to service_role$statement$,
$statement$-- The exact way: every stripe is held, so the sum is the sum. What room is left is shared out anew.
create function copperplate.rebalance(p_change copperplate.budget_change, p_budgets jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    c_stripes constant integer := case when copperplate.budget_rank(p_change.budget) in (1, 2) then 1 else 16 end;
    v record;
    v_limit bigint := p_change.limit_micro_usd;
    v_limit_pictures bigint := p_change.limit_pictures;
begin
    perform from copperplate.budget_usage as u
    where u.budget = p_change.budget and u.day = p_change.day
    order by u.stripe
    for update;
    if not found then
        -- A day so long ago that nothing is counted for it any more.
        if not p_change.is_bound then
            return true;
        end if;
        insert into copperplate.budget_usage (budget, day, stripe)
        select p_change.budget, p_change.day, n.stripe
        from generate_series(0, c_stripes - 1) as n (stripe)
        on conflict (budget, day, stripe) do nothing;
        perform from copperplate.budget_usage as u
        where u.budget = p_change.budget and u.day = p_change.day
        order by u.stripe
        for update;
    end if;

    select
        sum(u.spent_micro_usd)::bigint + p_change.micro_usd as spent, sum(u.pictures)::bigint + p_change.pictures as pictures,
        max(u.limit_micro_usd) as shared, max(u.limit_pictures) as shared_pictures
    into v
    from copperplate.budget_usage as u
    where u.budget = p_change.budget and u.day = p_change.day;
    if p_change.is_bound then
        -- Looked up after the wait: a cap may have been set meanwhile.
        select s.limit_micro_usd, s.limit_pictures
        into v_limit, v_limit_pictures
        from unnest(copperplate.budget_states(p_budgets, copperplate.clock())) as s
        where s.budget = p_change.budget and s.day = p_change.day;
        if not found then
            -- The day is over by now; its last caps are those that were seen.
            v_limit := p_change.limit_micro_usd;
            v_limit_pictures := p_change.limit_pictures;
        end if;
        if v.spent > v_limit or v.pictures > v_limit_pictures or 0 in (v_limit, v_limit_pictures) then
            return false;
        end if;
    else
        v_limit := v.shared;
        v_limit_pictures := v.shared_pictures;
    end if;
    perform copperplate.share_room(p_change, v_limit, v_limit_pictures, v.spent, v.pictures);
    return true;
end;
$$$statement$,
$statement$comment on function copperplate.rebalance(copperplate.budget_change, jsonb) is
'Change a counter with all its stripes held, and share what room is left among them; false where it does not fit.'$statement$,
$statement$revoke all on function copperplate.rebalance(copperplate.budget_change, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.rebalance(copperplate.budget_change, jsonb) to service_role$statement$,
$statement$create function copperplate.share_room(
    p_change copperplate.budget_change, p_limit bigint, p_limit_pictures bigint, p_spent bigint, p_pictures bigint
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- Null without a limit.
    v_room bigint := case when p_limit is not null then greatest(p_limit - p_spent, 0) end;
    v_room_pictures bigint := case when p_limit_pictures is not null then greatest(p_limit_pictures - p_pictures, 0) end;
    -- No more stripes than have room for another of the same: a room in parts that are too small helps nobody.
    v_shares bigint := greatest(1, least(
        (select count(*) from copperplate.budget_usage as u where u.budget = p_change.budget and u.day = p_change.day),
        v_room / nullif(greatest(p_change.micro_usd, 0), 0), v_room_pictures
    ));
begin
    update copperplate.budget_usage as u
    set
        spent_micro_usd = n.spent_micro_usd,
        pictures = n.pictures,
        allowed_micro_usd = n.spent_micro_usd + n.is_shared * (v_room / v_shares + (n.place < v_room % v_shares)::integer),
        allowed_pictures
        = n.pictures + n.is_shared * (v_room_pictures / v_shares + (n.place < v_room_pictures % v_shares)::integer),
        limit_micro_usd = p_limit,
        limit_pictures = p_limit_pictures
    from (
        select
            s.stripe, p.place, (p.place < v_shares)::integer as is_shared,
            s.spent_micro_usd + case when p.place = 0 then p_change.micro_usd else 0 end as spent_micro_usd,
            s.pictures + case when p.place = 0 then p_change.pictures else 0 end as pictures
        from copperplate.budget_usage as s
        inner join (
            select o.stripe, row_number() over (order by o.stripe) - 1 as place
            from copperplate.budget_usage as o
            where o.budget = p_change.budget and o.day = p_change.day
        ) as p on s.stripe = p.stripe
        where s.budget = p_change.budget and s.day = p_change.day
    ) as n
    where u.budget = p_change.budget and u.day = p_change.day and u.stripe = n.stripe;
end;
$$$statement$,
$statement$comment on function copperplate.share_room(copperplate.budget_change, bigint, bigint, bigint, bigint) is
'Count a change in the first of the stripes, which the caller holds, and share what is left of the limits among them.'$statement$,
$statement$revoke all on function copperplate.share_room(copperplate.budget_change, bigint, bigint, bigint, bigint)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.share_room(copperplate.budget_change, bigint, bigint, bigint, bigint)
to service_role$statement$,
$statement$create function copperplate.fits(p_stripe copperplate.budget_usage, p_change copperplate.budget_change)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if p_change.is_bound then
        -- Limits that are not the shared ones are shared out first, and what is no plain booking is weighed as a whole.
        return p_change.pictures = 1
            and p_stripe.limit_micro_usd is not distinct from p_change.limit_micro_usd
            and p_stripe.limit_pictures is not distinct from p_change.limit_pictures
            and (p_stripe.spent_micro_usd + p_change.micro_usd <= p_stripe.allowed_micro_usd) is not false
            and (p_stripe.pictures + p_change.pictures <= p_stripe.allowed_pictures) is not false;
    end if;
    -- What gives back fits everywhere.
    return (
        p_change.micro_usd <= 0 or p_stripe.spent_micro_usd + p_change.micro_usd <= p_stripe.allowed_micro_usd
    ) is not false
    and (p_change.pictures <= 0 or p_stripe.pictures + p_change.pictures <= p_stripe.allowed_pictures) is not false;
end;
$$$statement$,
$statement$comment on function copperplate.fits(copperplate.budget_usage, copperplate.budget_change) is
'Whether one stripe alone may take a change of its budget.'$statement$,
$statement$revoke all on function copperplate.fits(copperplate.budget_usage, copperplate.budget_change)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.fits(copperplate.budget_usage, copperplate.budget_change) to service_role$statement$,
$statement$-- Where bills exceeded a limit, all that is allowed is what was spent. What comes back then is nobody's room: only
-- rebalance sees whether the sum is under the limit again.
create function copperplate.still_allowed(p_allowed bigint, p_spent bigint, p_change bigint)
returns bigint
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return case when p_spent >= p_allowed then least(p_allowed, p_spent + p_change) else p_allowed end;
end;
$$$statement$,
$statement$comment on function copperplate.still_allowed(bigint, bigint, bigint) is
'What a stripe may spend after a change: a full one has no room for what it gives back, which rebalance shares out.'$statement$,
$statement$revoke all on function copperplate.still_allowed(bigint, bigint, bigint) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.still_allowed(bigint, bigint, bigint) to service_role$statement$,
$statement$-- A row that another transaction changes while it is picked stays locked, though it does not fit any more. Each block
-- is undone with such locks where it fails: nobody waits for a stripe while holding another, but for rebalance, in
-- order.
create function copperplate.change_budget(p_change copperplate.budget_change, p_budgets jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- A stripe with room that nobody holds.
    begin
        update copperplate.budget_usage as u
        set
            spent_micro_usd = u.spent_micro_usd + p_change.micro_usd, pictures = u.pictures + p_change.pictures,
            allowed_micro_usd = copperplate.still_allowed(u.allowed_micro_usd, u.spent_micro_usd, p_change.micro_usd),
            allowed_pictures = copperplate.still_allowed(u.allowed_pictures, u.pictures, p_change.pictures)
        where u.budget = p_change.budget and u.day = p_change.day and u.stripe = (
            select s.stripe
            from copperplate.budget_usage as s
            where s.budget = p_change.budget and s.day = p_change.day and copperplate.fits(s, p_change)
            limit 1
            for update skip locked
        );
        if not found then
            raise exception 'no stripe is free' using errcode = 'ZC013';
        end if;
        return true;
    exception
        when sqlstate 'ZC013' then
            null;
    end;
    -- All are held, or have no room. One wait is shorter than that for all of them.
    begin
        update copperplate.budget_usage as u
        set
            spent_micro_usd = u.spent_micro_usd + p_change.micro_usd, pictures = u.pictures + p_change.pictures,
            allowed_micro_usd = copperplate.still_allowed(u.allowed_micro_usd, u.spent_micro_usd, p_change.micro_usd),
            allowed_pictures = copperplate.still_allowed(u.allowed_pictures, u.pictures, p_change.pictures)
        where
            u.budget = p_change.budget and u.day = p_change.day and u.stripe = pg_backend_pid() % 16
            and copperplate.fits(u, p_change);
        if not found then
            raise exception 'this stripe has no room' using errcode = 'ZC013';
        end if;
        return true;
    exception
        when sqlstate 'ZC013' then
            return copperplate.rebalance(p_change, p_budgets);
    end;
end;
$$$statement$,
$statement$comment on function copperplate.change_budget(copperplate.budget_change, jsonb) is
'Change one counter; false where a bound change does not fit. p_budgets are those of the caller, for their caps.'$statement$,
$statement$revoke all on function copperplate.change_budget(copperplate.budget_change, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.change_budget(copperplate.budget_change, jsonb) to service_role$statement$,
$statement$create function copperplate.change_budgets(p_changes copperplate.budget_change[], p_budgets jsonb default null)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
    v_change copperplate.budget_change;
begin
    -- Each counter once, in the one order: a caller never comes back to a budget that it passed.
    for v_change in
        select
            c.budget, c.day, sum(c.micro_usd)::bigint, sum(c.pictures)::bigint, max(c.limit_micro_usd),
            max(c.limit_pictures), bool_or(c.is_bound)
        from unnest(p_changes) as c
        group by c.budget, c.day
        having sum(c.micro_usd) <> 0 or sum(c.pictures) <> 0
        order by copperplate.budget_rank(c.budget), c.day = '-infinity', c.day, c.budget
    loop
        if not copperplate.change_budget(v_change, p_budgets) then
            raise exception 'a budget is used up' using errcode = 'ZC011';
        end if;
    end loop;
end;
$$$statement$,
$statement$comment on function copperplate.change_budgets(copperplate.budget_change[], jsonb) is
'Change counters, all or none, in the order of locks; ZC011 where a bound change does not fit.'$statement$,
$statement$revoke all on function copperplate.change_budgets(copperplate.budget_change[], jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.change_budgets(copperplate.budget_change[], jsonb) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000371', 'create_spending', array[
$statement$-- Spending of a generation: reserved with its lead, booked with a submit, corrected by the bill.
--
--             acquire_generation             begin_submit                   intend_upload, fail_generation
--   (none) ────────────────────► reserved ─────────────────► booked ─────────────────► the bill, or nothing
--                                   │
--     fail, complete, sweep, delete ▼
--     lapsed, and somebody needs it: given back
--
-- Lapsed: the lease of the generation ran out. What it reserved counts as free from then on, whether a sweep came by or
-- not. What a submit booked does not: money may be out.

create function copperplate.reserved_changes(p_reserved jsonb)
returns copperplate.budget_change array
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if p_reserved is null then
        return array[]::copperplate.budget_change [];
    end if;
    return array(
        select row(
            n.name, copperplate.budget_day(n.name, (p_reserved ->> 'day')::date),
            -(p_reserved ->> 'amount_micro_usd')::bigint, -1, null, null, false
        )::copperplate.budget_change
        from jsonb_array_elements_text(p_reserved -> 'budgets') as n (name)
    );
end;
$$$statement$,
$statement$comment on function copperplate.reserved_changes(jsonb) is 'What giving a reservation back changes.'$statement$,
$statement$revoke all on function copperplate.reserved_changes(jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.reserved_changes(jsonb) to service_role$statement$,
$statement$create function copperplate.release_spending(p_reserved jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if p_reserved is not null then
        perform copperplate.change_budgets(copperplate.reserved_changes(p_reserved));
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.release_spending(jsonb) is
'Give a reservation back, which the caller has taken off its generation.'$statement$,
$statement$revoke all on function copperplate.release_spending(jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.release_spending(jsonb) to service_role$statement$,
$statement$create function copperplate.release_all_spending(p_reserved jsonb[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- All in one, so that budgets are locked in order.
    perform copperplate.change_budgets(array(
        select c::copperplate.budget_change
        from unnest(p_reserved) as r (reserved)
        cross join lateral unnest(copperplate.reserved_changes(r.reserved)) as c
    ))
    where p_reserved <> '{}';
end;
$$$statement$,
$statement$comment on function copperplate.release_all_spending(jsonb[]) is
'Give these reservations back, which the caller has taken off their generations.'$statement$,
$statement$revoke all on function copperplate.release_all_spending(jsonb[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.release_all_spending(jsonb[]) to service_role$statement$,
$statement$create function copperplate.take_lapsed(p_budgets text[], p_key text)
returns copperplate.budget_change array
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_changes copperplate.budget_change [] := array[]::copperplate.budget_change [];
    v_reserved jsonb;
begin
    -- Generations come before budgets in the order of locks, and the caller holds one; who skips waits for nobody.
    for v_reserved in
        with lapsed as (
            select g.prompt_hash, g.reserved
            from public.generation_status as g
            where
                g.status in ('pending', 'generating') and g.lease_until <= v_now and g.prompt_hash <> p_key
                and g.reserved -> 'budgets' ?| p_budgets
            for update skip locked
        )

        update public.generation_status as g
        set reserved = null, updated_at = v_now
        from lapsed as l
        where g.prompt_hash = l.prompt_hash
        returning l.reserved
    loop
        v_changes := v_changes || copperplate.reserved_changes(v_reserved);
    end loop;
    return v_changes;
end;
$$$statement$,
$statement$comment on function copperplate.take_lapsed(text[], text) is
'Take reservations of these budgets off the generations whose lease ran out, other than the caller''s; answers what
giving them back changes.'$statement$,
$statement$revoke all on function copperplate.take_lapsed(text[], text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.take_lapsed(text[], text) to service_role$statement$,
$statement$create function copperplate.reservation_of(p_look copperplate.budget_look, p_spending jsonb)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if p_look.own is null then
        return null;
    end if;
    return jsonb_build_object(
        'day', p_look.day, 'amount_micro_usd', p_spending -> 'amount_micro_usd', 'budgets', p_look.own
    );
end;
$$$statement$,
$statement$comment on function copperplate.reservation_of(copperplate.budget_look, jsonb) is
'What a lead reserves, {day, amount_micro_usd, budgets}: the caller''s own budgets; null where there are none.'$statement$,
$statement$revoke all on function copperplate.reservation_of(copperplate.budget_look, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.reservation_of(copperplate.budget_look, jsonb) to service_role$statement$,
$statement$-- What is in both is kept: only what a reservation has too much is given back, and booked what it lacks.
create function copperplate.book_spending(
    p_key text, p_look copperplate.budget_look, p_spending jsonb, p_reserved jsonb, p_is_submit boolean
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_amount bigint := (p_spending ->> 'amount_micro_usd')::bigint;
    v_state copperplate.budget_state;
    v_is_kept boolean := p_reserved is not null;
begin
    if p_look.needs_lapsed or (v_is_kept and p_reserved is distinct from copperplate.reservation_of(p_look, p_spending)) then
        perform copperplate.change_budgets(
            copperplate.spending_changes(p_key, p_look, v_amount, p_reserved, p_is_submit), p_spending -> 'budgets'
        );
        return;
    end if;
    -- Nearly always: nothing to give back, and a caller names budgets in the order of locks.
    foreach v_state in array p_look.states loop
        continue when v_state.is_own and v_is_kept or not (v_state.is_own or p_is_submit);
        begin
            update copperplate.budget_usage as u
            set spent_micro_usd = u.spent_micro_usd + v_amount, pictures = u.pictures + 1
            where u.budget = v_state.budget and u.day = v_state.day and u.stripe = (
                -- As copperplate.fits has it.
                select s.stripe
                from copperplate.budget_usage as s
                where
                    s.budget = v_state.budget and s.day = v_state.day
                    and s.limit_micro_usd is not distinct from v_state.limit_micro_usd
                    and s.limit_pictures is not distinct from v_state.limit_pictures
                    and (s.spent_micro_usd + v_amount <= s.allowed_micro_usd) is not false
                    and (s.pictures < s.allowed_pictures) is not false
                limit 1
                for update skip locked
            );
            if not found then
                raise exception 'no stripe is free' using errcode = 'ZC013';
            end if;
        exception
            when sqlstate 'ZC013' then
                perform copperplate.change_budgets(
                    array[row(
                        v_state.budget, v_state.day, v_amount, 1, v_state.limit_micro_usd, v_state.limit_pictures, true
                    )::copperplate.budget_change],
                    p_spending -> 'budgets'
                );
        end;
    end loop;
end;
$$$statement$,
$statement$comment on function copperplate.book_spending(text, copperplate.budget_look, jsonb, jsonb, boolean) is
'Book the caller''s own budgets, and for a submit the house''s, instead of what the generation reserved before; ZC011
where one has no room.'$statement$,
$statement$revoke all on function copperplate.book_spending(text, copperplate.budget_look, jsonb, jsonb, boolean)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.book_spending(text, copperplate.budget_look, jsonb, jsonb, boolean)
to service_role$statement$,
$statement$create function copperplate.spending_changes(
    p_key text, p_look copperplate.budget_look, p_amount bigint, p_reserved jsonb, p_is_submit boolean
)
returns copperplate.budget_change array
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_changes copperplate.budget_change [];
begin
    v_changes := array(
        select row(s.budget, s.day, p_amount, 1, s.limit_micro_usd, s.limit_pictures, true)::copperplate.budget_change
        from unnest(p_look.states) as s
        where p_is_submit or s.is_own
    );
    v_changes := v_changes || copperplate.reserved_changes(p_reserved);
    if p_look.needs_lapsed then
        v_changes := v_changes || copperplate.take_lapsed(p_look.own, p_key);
    end if;
    return v_changes;
end;
$$$statement$,
$statement$comment on function copperplate.spending_changes(text, copperplate.budget_look, bigint, jsonb, boolean) is
'What booking changes where the generation reserved something else before, or what lapsed is to make the room.'$statement$,
$statement$revoke all on function copperplate.spending_changes(text, copperplate.budget_look, bigint, jsonb, boolean)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.spending_changes(text, copperplate.budget_look, bigint, jsonb, boolean)
to service_role$statement$
]);

select pg_temp.apply_migration('20261120000372', 'create_submit_budgets', array[
$statement$-- The wall: a submit passes it, or its leader gives everything back.

create function copperplate.pass_budgets(
    p_spending jsonb, p_now timestamptz, p_key text, p_reserved jsonb
)
returns copperplate.budget_look
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v copperplate.budget_look;
begin
    -- Each round looks anew; one is lost only to somebody who booked what this one saw free.
    for v_round in 1..5 loop
        v := copperplate.find_refusal(p_spending, p_now, p_key, p_reserved);
        if v.refusal is null and v.lacks_salt then
            perform copperplate.make_salts(v.day);
            v := copperplate.find_refusal(p_spending, p_now, p_key, p_reserved);
        end if;
        if v.refusal is not null then
            return v;
        end if;
        begin
            perform copperplate.book_spending(p_key, v, p_spending, p_reserved, true);
            return v;
        exception
            when sqlstate 'ZC011' then
                null;
        end;
    end loop;
    v.refusal := copperplate.refusal(
        v.states[1], 'in_flight', v.states[1].used_micro_usd, v.states[1].used_pictures, p_now
    );
    return v;
end;
$$$statement$,
$statement$comment on function copperplate.pass_budgets(jsonb, timestamptz, text, jsonb) is
'Book every budget of a submit, with what its generation reserved, or none: then with the refusal.'$statement$,
$statement$revoke all on function copperplate.pass_budgets(jsonb, timestamptz, text, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.pass_budgets(jsonb, timestamptz, text, jsonb) to service_role$statement$,
$statement$create function copperplate.give_lead_back(p_key text, p_services text[], p_reserved jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    -- Nothing failed, and nothing is remembered: whoever asks next goes on from here, at once.
    update public.generation_status as g
    set
        status = 'failed', error_class = 'abandoned', error_message = 'a budget refused the submit', retry_at = v_now,
        leader = null, lease_until = null, reserved = null, updated_at = v_now
    where g.prompt_hash = p_key;
    perform copperplate.release_probes(p_services);
    perform copperplate.give_back_all(array[p_key]);
    perform copperplate.release_spending(p_reserved);
    perform pg_notify('copperplate', p_key);
end;
$$$statement$,
$statement$comment on function copperplate.give_lead_back(text, text[], jsonb) is
'A budget refuses the submit of a leader: lease, probes, credits and reservations are free in this transaction.'$statement$,
$statement$revoke all on function copperplate.give_lead_back(text, text[], jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.give_lead_back(text, text[], jsonb) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000373', 'create_lead_budgets', array[
$statement$-- A lead: looked for in every budget of a caller, reserved in its own.

create function copperplate.count_in_flight(p_budget text, p_key text)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    return count(*)
    from public.generation_status as g
    left join lateral (
        select s.budgets
        from copperplate.submits as s
        where s.generation_key = g.prompt_hash
        order by s.id desc
        limit 1
    ) as n on g.reserved is null
    where
        g.status in ('pending', 'generating') and g.lease_until > copperplate.clock() and g.prompt_hash <> p_key
        and (g.reserved -> 'budgets' ? p_budget or p_budget = any(n.budgets));
end;
$$$statement$,
$statement$comment on function copperplate.count_in_flight(text, text) is
'How many generations are led now, other than the one with p_key, that spend from this budget.'$statement$,
$statement$revoke all on function copperplate.count_in_flight(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.count_in_flight(text, text) to service_role$statement$,
$statement$create function copperplate.look_for_lead(p_spending jsonb, p_key text, p_is_new boolean)
returns copperplate.budget_look
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v copperplate.budget_look;
    v_now timestamptz := copperplate.clock();
    v_reserved jsonb;
    v_most bigint := (p_spending ->> 'max_in_flight')::bigint;
begin
    if not p_is_new then
        select g.reserved into v_reserved from public.generation_status as g where g.prompt_hash = p_key;
    end if;
    v := copperplate.find_refusal(p_spending, v_now, p_key, v_reserved);
    if v.refusal is null and v.lacks_salt then
        perform copperplate.make_salts(v.day);
        v := copperplate.find_refusal(p_spending, v_now, p_key, v_reserved);
    end if;
    -- Only who may pass holds the user: a deletion of many is waited for by nobody whom a budget refuses.
    if v.refusal is null then
        perform copperplate.hold_user(p_spending);
        if copperplate.is_forgotten(p_spending #>> '{budgets,0,name}') then
            v := copperplate.find_refusal(p_spending, v_now, p_key, v_reserved);
        end if;
    end if;
    if v.refusal is not null or v_most is null or not v.states[1].is_own then
        return v;
    end if;

    -- Refused by a look; who may pass counts again while nobody else of this caller does.
    if copperplate.count_in_flight(v.states[1].budget, p_key) < v_most then
        perform pg_advisory_xact_lock(hashtextextended('copperplate ' || v.states[1].budget, 0));
        if copperplate.count_in_flight(v.states[1].budget, p_key) < v_most then
            return v;
        end if;
    end if;
    v.refusal := copperplate.refusal(
        v.states[1], 'too_many', v.states[1].used_micro_usd, v.states[1].used_pictures, v_now
    );
    return v;
end;
$$$statement$,
$statement$comment on function copperplate.look_for_lead(jsonb, text, boolean) is
'Look whether a caller may lead, by all its budgets and by how much of its own is under way. A caller with a limit of
that is held apart from itself until its transaction ends.'$statement$,
$statement$revoke all on function copperplate.look_for_lead(jsonb, text, boolean) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.look_for_lead(jsonb, text, boolean) to service_role$statement$,
$statement$create function copperplate.reserve_spending(
    p_key text, p_look copperplate.budget_look, p_spending jsonb, p_is_new boolean
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_reserved jsonb;
begin
    if not p_is_new then
        -- Read again, as the caller holds the row only now.
        select g.reserved into v_reserved from public.generation_status as g where g.prompt_hash = p_key;
        update public.generation_status as g
        set reserved = copperplate.reservation_of(p_look, p_spending)
        where g.prompt_hash = p_key;
    end if;
    perform copperplate.book_spending(p_key, p_look, p_spending, v_reserved, false);
end;
$$$statement$,
$statement$comment on function copperplate.reserve_spending(text, copperplate.budget_look, jsonb, boolean) is
'Reserve a new leader''s own budgets: what its predecessor reserved of the same is kept, the rest of it given back.'$statement$,
$statement$revoke all on function copperplate.reserve_spending(text, copperplate.budget_look, jsonb, boolean)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.reserve_spending(text, copperplate.budget_look, jsonb, boolean) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000376', 'create_budget_operations', array[
$statement$-- What operators call about budgets.

create function copperplate.check_budget_name(p_name text)
returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if (
        p_name ~ '^(prepaid/)?(all|anonymous|(user|key|link|provider|model):[^[:space:]]{1,200})$'
    ) is not true then
        raise exception 'not the name of a budget'
            using
                errcode = 'ZC012',
                hint = 'Name all, anonymous, user:ID, key:ID, link:ID, provider:NAME or model:PROVIDER/MODEL, '
                    || 'with prepaid/ before it for a cap that nothing resets.';
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.check_budget_name(text) is
'ZC012 for what is no budget that an operator can set. Addresses have shares, and none has a cap of its own.'$statement$,
$statement$revoke all on function copperplate.check_budget_name(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.check_budget_name(text) to service_role$statement$,
$statement$create function copperplate.drop_unset_budget(p_name text)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    delete from copperplate.budgets as b
    where
        b.name = p_name and b.cap_micro_usd is null and b.cap_pictures is null
        and (b.override_until > copperplate.clock()) is not true
        -- A reset of today stands until midnight; of a prepaid one there is nothing left to raise.
        and not exists (
            select from copperplate.budget_resets as r
            where r.budget = b.name and r.day = (copperplate.clock() at time zone 'UTC')::date
        );
$$$statement$,
$statement$comment on function copperplate.drop_unset_budget(text) is
'Remove what an operator set of a budget where nothing of it stands. A prepaid one is over: its counter stays in the
book, and goes on where it is set again.'$statement$,
$statement$revoke all on function copperplate.drop_unset_budget(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.drop_unset_budget(text) to service_role$statement$,
$statement$create function public.set_budget(p_name text, p_cap_micro_usd bigint, p_cap_pictures bigint)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform copperplate.check_budget_name(p_name);
    if (least(p_cap_micro_usd, p_cap_pictures) < 0 or greatest(p_cap_micro_usd, p_cap_pictures) > 1000000000000000) then
        raise exception 'not a cap'
            using errcode = 'ZC012', hint = 'Caps are from 0 to 1000000000000000, or null for none of its own.';
    end if;
    -- Everybody can read a visible key: without a cap it spends nothing, as when it was made.
    if
        p_cap_micro_usd is null and p_cap_pictures is null
        and exists (select from copperplate.api_keys as k where k.is_visible and 'key:' || k.id::text = p_name)
    then
        p_cap_micro_usd := 0;
        p_cap_pictures := 0;
    end if;
    insert into copperplate.budgets as b (name, cap_micro_usd, cap_pictures, updated_at)
    values (p_name, p_cap_micro_usd, p_cap_pictures, copperplate.clock())
    on conflict (name) do update
    set
        cap_micro_usd = excluded.cap_micro_usd, cap_pictures = excluded.cap_pictures,
        updated_at = excluded.updated_at;
    perform copperplate.drop_unset_budget(p_name);
    return public.read_budgets(jsonb_build_array(jsonb_build_object('name', p_name))) -> 0;
end;
$$$statement$,
$statement$comment on function public.set_budget(text, bigint, bigint) is
'Set the caps of a budget, of money in millionths of a dollar and of pictures, above what programs send; null: what they
send stands, and a visible key spends nothing. Answers what read_budgets does. From the next election on; what is under way goes on.'$statement$,
$statement$revoke all on function public.set_budget(text, bigint, bigint) from public, anon, authenticated$statement$,
$statement$grant execute on function public.set_budget(text, bigint, bigint) to service_role$statement$,
$statement$create function public.override_budget(
    p_name text, p_cap_micro_usd bigint, p_cap_pictures bigint, p_until timestamptz
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform copperplate.check_budget_name(p_name);
    if (
        (p_until > copperplate.clock() and least(p_cap_micro_usd, p_cap_pictures) >= 0
            and greatest(p_cap_micro_usd, p_cap_pictures) <= 1000000000000000)
        or (p_until is null and p_cap_micro_usd is null and p_cap_pictures is null)
    ) is not true then
        raise exception 'not an override'
            using errcode = 'ZC012', hint = 'Give a cap and an end in the future, or three nulls to end it now.';
    end if;
    insert into copperplate.budgets as b (name, override_micro_usd, override_pictures, override_until, updated_at)
    values (p_name, p_cap_micro_usd, p_cap_pictures, p_until, copperplate.clock())
    on conflict (name) do update
    set
        override_micro_usd = excluded.override_micro_usd, override_pictures = excluded.override_pictures,
        override_until = excluded.override_until, updated_at = excluded.updated_at;
    perform copperplate.drop_unset_budget(p_name);
    return public.read_budgets(jsonb_build_array(jsonb_build_object('name', p_name))) -> 0;
end;
$$$statement$,
$statement$comment on function public.override_budget(text, bigint, bigint, timestamptz) is
'Let other caps stand for a budget until p_until; three nulls end it now. Answers what read_budgets does.'$statement$,
$statement$revoke all on function public.override_budget(text, bigint, bigint, timestamptz) from public, anon, authenticated$statement$,
$statement$grant execute on function public.override_budget(text, bigint, bigint, timestamptz) to service_role$statement$,
$statement$-- What may come back is not forgiven: it would make room twice, when it does and by the reset.
create function copperplate.settled(p_budget text, p_day date)
returns table (micro_usd bigint, pictures bigint)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return query
    select
        greatest(coalesce(sum(c.micro_usd), 0), 0)::bigint, greatest(coalesce(sum(c.pictures), 0), 0)::bigint
    from (
        select u.spent_micro_usd as micro_usd, u.pictures
        from copperplate.budget_usage as u
        where u.budget = p_budget and u.day = p_day
        union all
        select -(g.reserved ->> 'amount_micro_usd')::bigint, -1
        from public.generation_status as g
        where
            g.status in ('pending', 'generating') and g.reserved -> 'budgets' ? p_budget
            and copperplate.budget_day(p_budget, (g.reserved ->> 'day')::date) = p_day
        union all
        -- Whether its lease runs or not, and where a leader gave up: whoever resumes it may learn that it was free.
        select -s.booked_micro_usd, -1
        from public.generation_status as g
        cross join lateral (
            select n.*
            from copperplate.submits as n
            where n.generation_key = g.prompt_hash
            order by n.id desc
            limit 1
        ) as s
        where
            (g.status = 'generating' or (g.status = 'failed' and g.error_class in ('abandoned', 'uncollected')))
            and s.cost_micro_usd is null and s.booked_micro_usd is not null
            and p_budget = any(s.budgets)
            and copperplate.budget_day(p_budget, (s.sent_at at time zone 'UTC')::date) = p_day
    ) as c;
end;
$$$statement$,
$statement$comment on function copperplate.settled(text, date) is
'What a budget counts on a day without what is reserved, and without submits under way whose bill is not known.'$statement$,
$statement$revoke all on function copperplate.settled(text, date) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.settled(text, date) to service_role$statement$,
$statement$create function public.reset_budget(p_name text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_day date := copperplate.budget_day(p_name, (copperplate.clock() at time zone 'UTC')::date);
begin
    perform copperplate.check_budget_name(p_name);
    -- Every stripe is held, as for a booking: what is booked after it counts against the new room.
    perform from copperplate.budget_usage as u
    where u.budget = p_name and u.day = v_day
    order by u.stripe
    for update;
    -- An election looks for resets where there is a row, and a row makes a prepaid budget. One that is there is locked,
    -- and as young as the reset, so that no sweep takes it for what is over.
    insert into copperplate.budgets as b (name, updated_at)
    select p_name, copperplate.clock()
    where p_name not like 'prepaid/%'
    on conflict (name) do update set updated_at = excluded.updated_at;
    insert into copperplate.budget_resets (budget, day, micro_usd, pictures)
    select p_name, v_day, s.micro_usd, s.pictures
    from copperplate.settled(p_name, v_day) as s
    on conflict (budget, day) do update set micro_usd = excluded.micro_usd, pictures = excluded.pictures;
    return public.read_budgets(jsonb_build_array(jsonb_build_object('name', p_name))) -> 0;
end;
$$$statement$,
$statement$comment on function public.reset_budget(text) is
'Begin the day of a budget anew: its caps apply to what is under way and to what is booked from now on. Answers what
read_budgets does.'$statement$,
$statement$revoke all on function public.reset_budget(text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.reset_budget(text) to service_role$statement$,
$statement$create function public.read_budgets(p_budgets jsonb)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_day date := (v_now at time zone 'UTC')::date;
begin
    -- One look at all generations, however many budgets are asked for.
    return (
        with states as materialized (
            select t.*
            from unnest(copperplate.budget_states(p_budgets, v_now)) with ordinality as t (
                name, budget, day, is_own, cap_micro_usd, cap_pictures, limit_micro_usd, limit_pictures,
                used_micro_usd, used_pictures, place
            )
        ),

        lapsed as materialized (
            select f.budget, f.micro_usd, f.pictures
            from copperplate.unsettled((select array_agg(t.budget) from states as t), v_day, null) as f
            where f.is_lapsed
        )

        select coalesce(jsonb_agg(
            jsonb_build_object(
                -- As they are in a refusal.
                'budget', case when s.name like 'address:%' then 'address' else s.name end,
                'cap_micro_usd', s.cap_micro_usd,
                'used_micro_usd', greatest(u.micro_usd - coalesce(r.micro_usd, 0), 0),
                'left_micro_usd', case
                    when s.cap_micro_usd > 0 then greatest(s.limit_micro_usd - u.micro_usd, 0) else s.cap_micro_usd
                end,
                'cap_pictures', s.cap_pictures,
                'used_pictures', greatest(u.pictures - coalesce(r.pictures, 0), 0),
                'left_pictures', case
                    when s.cap_pictures > 0 then greatest(s.limit_pictures - u.pictures, 0) else s.cap_pictures
                end,
                'resets_at', case
                    when s.day > '-infinity'
                        then to_char((v_day + 1)::timestamp, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                end,
                'override_until', to_char(b.override_until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            )
            order by s.place
        ), '[]')
        from states as s
        left join copperplate.budgets as b on s.name = b.name and b.override_until > v_now
        left join copperplate.budget_resets as r on s.budget = r.budget and s.day = r.day
        left join lapsed as h on s.budget = h.budget
        cross join lateral (
            select
                s.used_micro_usd - coalesce(h.micro_usd, 0) as micro_usd, s.used_pictures - coalesce(h.pictures, 0) as pictures
        ) as u
    );
end;
$$$statement$,
$statement$comment on function public.read_budgets(jsonb) is
'Caps, use and rest of each of these budgets, [{name, cap_micro_usd, cap_pictures, share_of, permille}], and of the
prepaid ones beside them, since they were last reset; what lapsed is not used. Money in millionths of a dollar.'$statement$,
$statement$revoke all on function public.read_budgets(jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function public.read_budgets(jsonb) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000377', 'create_budget_audit', array[
$statement$-- Budgets at a glance, sums that must agree, and what is old.

create function public.list_budgets()
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_day date := (v_now at time zone 'UTC')::date;
begin
    return coalesce(jsonb_agg(to_jsonb(l) order by copperplate.budget_rank(l.budget) desc, l.budget), '[]')
    from (
        select
            coalesce(b.name, u.name) as budget,
            -- Where an operator set none: what was shared out for the last election, resets included.
            coalesce(
                case when b.override_until > v_now then b.override_micro_usd end, b.cap_micro_usd, u.limit_micro_usd
            ) as cap_micro_usd,
            coalesce(
                case when b.override_until > v_now then b.override_pictures end, b.cap_pictures, u.limit_pictures
            ) as cap_pictures,
            coalesce(u.micro_usd, 0) - coalesce(r.micro_usd, 0) as used_micro_usd,
            coalesce(u.pictures, 0) - coalesce(r.pictures, 0) as used_pictures,
            case when b.override_until > v_now then b.override_until end as override_until
        from copperplate.budgets as b
        full join (
            select
                n.name, sum(s.spent_micro_usd)::bigint as micro_usd, sum(s.pictures)::bigint as pictures,
                max(s.limit_micro_usd) filter (where s.budget = n.name) as limit_micro_usd,
                max(s.limit_pictures) filter (where s.budget = n.name) as limit_pictures
            from copperplate.budget_usage as s
            left join copperplate.budgets as c on s.budget = c.name
            -- Addresses and users are many: a sum each, but for those that have a cap of their own.
            cross join lateral (
                select
                    case
                        when c.name is not null then s.budget
                        when s.budget like 'address:%' then 'address:*'
                        when s.budget like 'user:%' then 'user:*'
                        else s.budget
                    end as name
            ) as n
            -- Of a prepaid one that was taken off only the counter is left.
            where
                s.day = v_day
                or (s.day = '-infinity' and c.name is not null)
            group by n.name
        ) as u on b.name = u.name
        left join copperplate.budget_resets as r
            on
                coalesce(b.name, u.name) = r.budget
                and copperplate.budget_day(coalesce(b.name, u.name), v_day) = r.day
    ) as l;
end;
$$$statement$,
$statement$comment on function public.list_budgets() is
'Every budget with a cap of its own or used today (UTC): caps, and use since the last reset, with what is reserved; all
addresses as address:*, users without a cap of their own as user:*. Money in millionths of a dollar.'$statement$,
$statement$revoke all on function public.list_budgets() from public, anon, authenticated$statement$,
$statement$grant execute on function public.list_budgets() to service_role$statement$,
$statement$create function public.audit_budgets()
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_day date := (copperplate.clock() at time zone 'UTC')::date;
begin
    return (
        with counted as (
            select u.budget, u.day, sum(u.spent_micro_usd)::bigint as micro_usd, sum(u.pictures)::bigint as pictures
            from copperplate.budget_usage as u
            group by u.budget, u.day
        ),

        due as (
            select
                h.budget, copperplate.budget_day(h.budget, h.day) as day,
                sum(h.micro_usd)::bigint as micro_usd, count(*) as pictures
            from (
                select
                    n.name as budget, (s.sent_at at time zone 'UTC')::date as day,
                    coalesce(s.cost_micro_usd, s.booked_micro_usd) as micro_usd
                from copperplate.submits as s
                cross join lateral unnest(s.budgets) as n (name)
                where s.booked_micro_usd is not null
                union all
                select n.name, (g.reserved ->> 'day')::date, (g.reserved ->> 'amount_micro_usd')::bigint
                from public.generation_status as g
                cross join lateral jsonb_array_elements_text(g.reserved -> 'budgets') as n (name)
                where g.status in ('pending', 'generating')
            ) as h
            group by h.budget, copperplate.budget_day(h.budget, h.day)
        ),

        compared as (
            select
                coalesce(c.budget, d.budget) as budget, coalesce(c.day, d.day) as day,
                coalesce(c.micro_usd, 0) as counted_micro_usd, coalesce(d.micro_usd, 0) as micro_usd,
                coalesce(c.pictures, 0) as counted_pictures, coalesce(d.pictures, 0) as pictures
            from counted as c
            full join due as d on c.budget = d.budget and c.day = d.day
            -- What is old enough to be forgotten is in no sum.
            where c.budget is not null or d.day >= v_day - 1 or d.day = '-infinity'
        )

        select jsonb_build_object(
            'counters', (select count(*) from counted),
            'faults', coalesce(
                jsonb_agg(to_jsonb(f)) filter (
                    where (f.counted_micro_usd, f.counted_pictures) <> (f.micro_usd, f.pictures)
                ),
                '[]'
            )
        )
        from compared as f
    );
end;
$$$statement$,
$statement$comment on function public.audit_budgets() is
'How many counters there are, and faults: counters that are not the sum of bookings and reservations, none of which
there should be.'$statement$,
$statement$revoke all on function public.audit_budgets() from public, anon, authenticated$statement$,
$statement$grant execute on function public.audit_budgets() to service_role$statement$,
$statement$create function copperplate.fold_budgets(p_limit integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_day date := (copperplate.clock() at time zone 'UTC')::date;
    v record;
begin
    -- Bills come a day late at most. What somebody holds is left for another time: nothing here waits.
    delete from copperplate.address_salts as s where s.day < v_day - 1;
    delete from copperplate.budget_resets as r where r.day < v_day - 35 and r.day > '-infinity';
    delete from copperplate.forgotten_users as f where f.forgotten_at < copperplate.clock() - interval '35 days';
    -- Overrides that are over, and what only a reset of a day before kept.
    delete from copperplate.budgets as b
    where b.ctid = any(array(
        select o.ctid
        from copperplate.budgets as o
        where
            o.cap_micro_usd is null and o.cap_pictures is null
            and (o.override_until > copperplate.clock()) is not true
            and (o.updated_at < v_day::timestamp at time zone 'UTC' or o.name like 'prepaid/%')
        for update skip locked
    ));
    delete from copperplate.budget_usage as u
    where u.ctid = any(array(
        select o.ctid
        from copperplate.budget_usage as o
        where o.day < v_day - 35 and o.day > '-infinity'
        limit 20 * p_limit
        for update skip locked
    ));
    delete from copperplate.budget_usage as u
    where u.ctid = any(array(
        select o.ctid
        from copperplate.budget_usage as o
        where o.day < v_day - 1 and o.day > '-infinity' and o.budget like 'address:%'
        limit 20 * p_limit
        for update skip locked
    ));
    for v in
        select u.budget, u.day, count(*) as stripes
        from copperplate.budget_usage as u
        where u.day < v_day - 1 and u.day > '-infinity' and u.stripe > 0
        group by u.budget, u.day
        limit p_limit
    loop
        perform copperplate.fold_budget_day(v.budget, v.day, v.stripes + 1);
    end loop;
end;
$$$statement$,
$statement$comment on function copperplate.fold_budgets(integer) is
'Forget what addresses used before yesterday with their salts, counters of more than 35 days and budgets that nothing
is set of any more; fold the stripes of days that are over into one. Spending stays in copperplate.submits.'$statement$,
$statement$revoke all on function copperplate.fold_budgets(integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.fold_budgets(integer) to service_role$statement$,
$statement$create function copperplate.fold_budget_day(p_budget text, p_day date, p_stripes bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_held bigint;
begin
    select count(*) into v_held
    from (
        select from copperplate.budget_usage as u
        where u.budget = p_budget and u.day = p_day
        for update skip locked
    ) as h;
    if v_held <> p_stripes then
        return;
    end if;
    -- A bill that comes later still is counted without regard to shares.
    update copperplate.budget_usage as u
    set
        spent_micro_usd = s.spent_micro_usd, pictures = s.pictures,
        allowed_micro_usd = u.limit_micro_usd, allowed_pictures = u.limit_pictures
    from (
        select sum(o.spent_micro_usd) as spent_micro_usd, sum(o.pictures) as pictures
        from copperplate.budget_usage as o
        where o.budget = p_budget and o.day = p_day
    ) as s
    where u.budget = p_budget and u.day = p_day and u.stripe = 0;
    delete from copperplate.budget_usage as u where u.budget = p_budget and u.day = p_day and u.stripe > 0;
end;
$$$statement$,
$statement$comment on function copperplate.fold_budget_day(text, date, bigint) is
'Fold the stripes of a day into its first, unless somebody holds one.'$statement$,
$statement$revoke all on function copperplate.fold_budget_day(text, date, bigint) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.fold_budget_day(text, date, bigint) to service_role$statement$,
$statement$create function copperplate.forget_reserved(p_budget text)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    update public.generation_status as g
    set reserved = jsonb_set(g.reserved, '{budgets}', (g.reserved -> 'budgets') - p_budget - ('prepaid/' || p_budget))
    where g.status in ('pending', 'generating') and g.reserved -> 'budgets' ?| array[p_budget, 'prepaid/' || p_budget];
$$$statement$,
$statement$comment on function copperplate.forget_reserved(text) is 'Take the name of a budget off what generations reserved.'$statement$,
$statement$revoke all on function copperplate.forget_reserved(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.forget_reserved(text) to service_role$statement$,
$statement$create function copperplate.forget_budget(p_budget text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_names text[] := array[p_budget, 'prepaid/' || p_budget];
begin
    update copperplate.submits as s
    set budgets = array_remove(array_remove(s.budgets, p_budget), 'prepaid/' || p_budget)
    where s.budgets && v_names;
    delete from copperplate.budget_usage as u where u.budget = any(v_names);
    delete from copperplate.budget_resets as r where r.budget = any(v_names);
    delete from copperplate.budgets as b where b.name = any(v_names);
end;
$$$statement$,
$statement$comment on function copperplate.forget_budget(text) is
'Remove a budget and its name from every booking; what was spent stays in the others.'$statement$,
$statement$revoke all on function copperplate.forget_budget(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.forget_budget(text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000380', 'create_api_keys', array[
$statement$-- API keys: who may do what without a sign-in. A key itself is nowhere here, only its SHA-256.

create table copperplate.api_keys (
    id uuid not null default gen_random_uuid(),
    -- The first eight characters after cp_: what operators and messages name a key by. Public, and kept by rotations.
    prefix text not null,
    -- SHA-256 of the whole key, hex. 256 bits of chance need no slow hash and no salt.
    digest text not null,
    -- Of the key before the last rotation, which is good until then; one that is over says that it was replaced.
    previous_digest text,
    previous_until timestamptz,
    name text not null,
    tier text not null,
    scopes text[] not null,
    -- Stands in pages and addresses for everybody to read: it spends what was set aside for it, nothing else.
    is_visible boolean not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    -- Written once an hour at most: a key of many processes has no hot row.
    last_used_at timestamptz,
    constraint api_keys_pkey primary key (id),
    constraint api_keys_prefix_key unique (prefix),
    constraint api_keys_digest_key unique (digest),
    constraint api_keys_previous_digest_key unique (previous_digest),
    constraint api_keys_prefix_is_eight_characters check (prefix ~ '^[0-9A-Za-z]{8}$'),
    constraint api_keys_digest_is_sha256 check (digest ~ '^[0-9a-f]{64}$'),
    constraint api_keys_previous_digest_is_sha256 check (previous_digest ~ '^[0-9a-f]{64}$'),
    constraint api_keys_previous_digest_ends check ((previous_digest is null) = (previous_until is null)),
    constraint api_keys_name_is_short check (length(name) <= 100),
    constraint api_keys_tier_is_a_word check (tier ~ '^[a-z0-9_-]{1,32}$'),
    constraint api_keys_scopes_are_known check (
        cardinality(scopes) between 1 and 3 and scopes <@ array['generate', 'purge', 'admin']
    ),
    constraint api_keys_visible_only_generate check (not is_visible or scopes = array['generate'])
)$statement$,
$statement$comment on table copperplate.api_keys is
'API keys by the SHA-256 of each, with what it may do. What it may spend is the row key:<id> of copperplate.budgets.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$comment on column copperplate.api_keys.digest is 'SHA-256 of the whole key, hex; the key itself is kept nowhere.'$statement$,
$statement$comment on column copperplate.api_keys.last_used_at is 'To the hour: written when an hour has passed since.'$statement$,
$statement$alter table copperplate.api_keys enable row level security$statement$,
$statement$revoke all on table copperplate.api_keys from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update on table copperplate.api_keys to service_role$statement$,
$statement$create function copperplate.describe_api_key(p_id uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'id', k.id,
        'prefix', k.prefix,
        'name', k.name,
        'tier', k.tier,
        'scopes', k.scopes,
        'is_visible', k.is_visible,
        'created_at', k.created_at,
        'expires_at', k.expires_at,
        'revoked_at', k.revoked_at,
        'last_used_at', k.last_used_at,
        'previous_until', k.previous_until,
        'cap_micro_usd', b.cap_micro_usd,
        'cap_pictures', b.cap_pictures
    )
    from copperplate.api_keys as k
    left join copperplate.budgets as b on b.name = 'key:' || k.id::text
    where k.id = p_id;
$$$statement$,
$statement$comment on function copperplate.describe_api_key(uuid) is 'A key as it is shown, with its caps and without digests.'$statement$,
$statement$revoke all on function copperplate.describe_api_key(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.describe_api_key(uuid) to service_role$statement$,
$statement$create function public.create_api_key(
    p_prefix text,
    p_digest text,
    p_name text,
    p_tier text,
    p_scopes text[],
    p_is_visible boolean default false,
    p_expires_in interval default null,
    p_cap_micro_usd bigint default null,
    p_cap_pictures bigint default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_id uuid;
    v_now timestamptz := copperplate.clock();
begin
    if p_cap_micro_usd < 0 or p_cap_pictures < 0 or p_expires_in <= interval '0' then
        raise exception 'not an API key'
            using errcode = 'ZC013', hint = 'Caps are zero or more, and a key expires later than now.';
    end if;
    insert into copperplate.api_keys (prefix, digest, name, tier, scopes, is_visible, created_at, expires_at)
    values (p_prefix, p_digest, p_name, p_tier, p_scopes, p_is_visible, v_now, v_now + p_expires_in)
    on conflict do nothing
    returning id into v_id;
    if found then
        -- Everybody can read a visible key: nothing is set aside for it until somebody says how much.
        if p_is_visible and p_cap_micro_usd is null and p_cap_pictures is null then
            p_cap_micro_usd := 0;
            p_cap_pictures := 0;
        end if;
        if p_cap_micro_usd is not null or p_cap_pictures is not null then
            insert into copperplate.budgets (name, cap_micro_usd, cap_pictures, updated_at)
            values ('key:' || v_id::text, p_cap_micro_usd, p_cap_pictures, v_now);
        end if;
    else
        -- A repeated call finds what the first one made.
        select k.id into v_id
        from copperplate.api_keys as k
        where k.prefix = p_prefix and k.digest = p_digest;
        if not found then
            raise exception 'this prefix is another key''s'
                using errcode = 'ZC013', hint = 'Make another key.';
        end if;
    end if;
    return copperplate.describe_api_key(v_id);
end;
$$$statement$,
$statement$comment on function public.create_api_key(text, text, text, text, text[], boolean, interval, bigint, bigint) is
'Keep a key by its prefix and the SHA-256 of the whole of it. A visible one may spend nothing unless a cap is given.
Repeating a call changes nothing.'$statement$,
$statement$revoke all on function public.create_api_key(text, text, text, text, text[], boolean, interval, bigint, bigint)
from public, anon, authenticated$statement$,
$statement$grant execute on function public.create_api_key(text, text, text, text, text[], boolean, interval, bigint, bigint)
to service_role$statement$,
$statement$create function public.find_api_key(p_digest text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_key copperplate.api_keys%rowtype;
    v_until timestamptz;
    v_state text;
begin
    select k.* into v_key
    from copperplate.api_keys as k
    where k.digest = p_digest or k.previous_digest = p_digest;
    if not found then
        return null;
    end if;
    -- Nulls are passed over: null where neither ends it.
    v_until := least(v_key.expires_at, case when v_key.previous_digest = p_digest then v_key.previous_until end);
    v_state := case
        when v_key.revoked_at is not null then 'revoked'
        when v_key.expires_at <= v_now then 'expired'
        when v_until <= v_now then 'rotated'
        else 'active'
    end;
    -- Nobody waits for this, and a database that takes no writes still knows its keys.
    if
        v_state = 'active'
        and (v_key.last_used_at is null or v_key.last_used_at <= v_now - interval '1 hour')
        and not current_setting('transaction_read_only')::boolean
    then
        update copperplate.api_keys as k
        set last_used_at = v_now
        where
            k.id in (select u.id from copperplate.api_keys as u where u.id = v_key.id for update skip locked)
            and k.last_used_at is not distinct from v_key.last_used_at;
    end if;
    return copperplate.describe_api_key(v_key.id) || jsonb_build_object(
        'state', v_state, 'left_ms', ceil(extract(epoch from v_until - v_now) * 1000)::bigint
    );
end;
$$$statement$,
$statement$comment on function public.find_api_key(text) is
'The key with this SHA-256, or null: what it may do, its state (active, expired, revoked, rotated), and in how many
milliseconds it ends, null where it does not. Its use is noted once an hour.'$statement$,
$statement$revoke all on function public.find_api_key(text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.find_api_key(text) to service_role$statement$,
$statement$create function public.list_api_keys()
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(copperplate.describe_api_key(k.id) order by k.created_at, k.prefix), '[]'::jsonb)
    from copperplate.api_keys as k;
$$$statement$,
$statement$comment on function public.list_api_keys() is 'Every key, the oldest first; revoked ones stay listed.'$statement$,
$statement$revoke all on function public.list_api_keys() from public, anon, authenticated$statement$,
$statement$grant execute on function public.list_api_keys() to service_role$statement$,
$statement$create function public.rotate_api_key(p_prefix text, p_digest text, p_grace interval)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_id uuid;
    v_now timestamptz := copperplate.clock();
begin
    if p_grace < interval '0' then
        raise exception 'a grace before now' using errcode = 'ZC013', hint = 'Give a grace of zero or more.';
    end if;
    update copperplate.api_keys as k
    set
        digest = p_digest,
        -- Without a grace too: whoever still sends it hears that it was replaced.
        previous_digest = k.digest,
        previous_until = v_now + p_grace
    where
        k.prefix = p_prefix
        and k.digest <> p_digest -- else it is this call, repeated
        and k.revoked_at is null
        and (k.expires_at is null or k.expires_at > v_now);
    select k.id into v_id
    from copperplate.api_keys as k
    where k.prefix = p_prefix and k.digest = p_digest;
    return copperplate.describe_api_key(v_id);
end;
$$$statement$,
$statement$comment on function public.rotate_api_key(text, text, interval) is
'Replace a key by one with the same prefix, scopes and budget; the old one is good for p_grace more, and the one before
it is not. Null where no such key is in force. Repeating a call changes nothing.'$statement$,
$statement$revoke all on function public.rotate_api_key(text, text, interval) from public, anon, authenticated$statement$,
$statement$grant execute on function public.rotate_api_key(text, text, interval) to service_role$statement$,
$statement$create function public.revoke_api_key(p_prefix text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_id uuid;
    v_now timestamptz := copperplate.clock();
begin
    update copperplate.api_keys as k
    set revoked_at = coalesce(k.revoked_at, v_now)
    where k.prefix = p_prefix
    returning k.id into v_id;
    if not found then
        return null;
    end if;
    -- Processes remember the key for some seconds; what they ask for in that time is refused by its budget.
    insert into copperplate.budgets as b (name, cap_micro_usd, cap_pictures, updated_at)
    values ('key:' || v_id::text, 0, 0, v_now)
    on conflict (name) do update
        set
            cap_micro_usd = 0,
            cap_pictures = 0,
            override_micro_usd = null,
            override_pictures = null,
            override_until = null,
            updated_at = v_now;
    return copperplate.describe_api_key(v_id);
end;
$$$statement$,
$statement$comment on function public.revoke_api_key(text) is
'End a key for good. It spends nothing from this moment on, whoever still remembers it. Null where there is none such.'$statement$,
$statement$revoke all on function public.revoke_api_key(text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.revoke_api_key(text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000388', 'create_url_signatures', array[
$statement$-- Signed URLs made in SQL: the signatures that the server verifies. Secrets are arguments and are kept in no table.
-- ZC001: what was given cannot be signed. No message repeats a prompt or a secret.

create function copperplate.hmac_sha256(p_key bytea, p_message bytea)
returns bytea
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
    -- RFC 2104 with a block of 64 bytes
    with block as (
        select case when length(p_key) > 64 then sha256(p_key) else p_key end as key
    ),

    pads as (
        select
            string_agg(set_byte('\x00'::bytea, 0, b.byte # 54), ''::bytea order by n.n) as inner_pad,
            string_agg(set_byte('\x00'::bytea, 0, b.byte # 92), ''::bytea order by n.n) as outer_pad
        from block as k
        cross join generate_series(0, 63) as n (n)
        cross join lateral (select case when n.n < length(k.key) then get_byte(k.key, n.n) else 0 end) as b (byte)
    )

    select sha256(p.outer_pad || sha256(p.inner_pad || p_message))
    from pads as p;
$$$statement$,
$statement$comment on function copperplate.hmac_sha256(bytea, bytea) is
'HMAC-SHA256 (RFC 2104) by the built-in sha256(): pgcrypto may be absent, and lies in a schema of its owner''s choice.'$statement$,
$statement$revoke all on function copperplate.hmac_sha256(bytea, bytea) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.hmac_sha256(bytea, bytea) to service_role$statement$,
$statement$create function copperplate.percent_encode(p_text text)
returns text
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
    select string_agg(
        case
            when c.letter collate "C" ~ '^[A-Za-z0-9._~-]$' then c.letter
            else regexp_replace(upper(encode(convert_to(c.letter, 'UTF8'), 'hex')), '(..)', '%\1', 'g')
        end,
        '' order by c.n
    )
    from string_to_table(p_text, null) with ordinality as c (letter, n);
$$$statement$,
$statement$comment on function copperplate.percent_encode(text) is
'A text as the value of a query parameter: its UTF-8 bytes, all but the unreserved characters of RFC 3986 as %XX.'$statement$,
$statement$revoke all on function copperplate.percent_encode(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.percent_encode(text) to service_role$statement$,
$statement$create function public.sign_generation(
    p_generation_key text, p_key_id text, p_secret text, p_expires_at timestamptz
)
returns text
language plpgsql
stable
parallel safe
security invoker
set search_path = ''
as $$
declare
    v_fault text := case
        when (p_generation_key collate "C" ~ '^[0-9a-f]{64}$') is not true
            then 'A generation key has 64 hexadecimal digits.'
        when (p_key_id collate "C" ~ '^[a-z0-9-]{1,16}$') is not true
            then 'A key id has 1 to 16 of a-z, 0-9 and -.'
        when (p_secret collate "C" ~ '^[!-+.-~-]+$' and length(p_secret) between 32 and 1000) is not true
            then 'A secret has 32 to 1000 ASCII characters, without spaces and commas.'
        when (p_expires_at > 'epoch' and p_expires_at < '9999-12-31 00:00:00+00') is not true
            then 'A signature expires after 1970 and before 9999-12-31.'
    end;
    v_expires text;
begin
    if v_fault is not null then
        raise exception using
            errcode = 'ZC001', message = v_fault, hint = 'Ids and secrets are those of COPPERPLATE_URL_SIGNING_KEYS.';
    end if;
    -- the full hour at or after it, so that a CDN sees one address for an hour
    v_expires := (ceil(extract(epoch from p_expires_at) / 3600)::bigint * 3600)::text;
    return format('kid=%s&exp=%s&sig=%s', p_key_id, v_expires, translate(
        encode(
            copperplate.hmac_sha256(
                convert_to(p_secret, 'UTF8'),
                convert_to(concat_ws(e'\n', 'copperplate-url-v1', p_key_id, v_expires, p_generation_key), 'UTF8')
            ),
            'base64'
        ),
        '+/=', '-_'  -- base64url, without padding
    ));
end
$$$statement$,
$statement$comment on function public.sign_generation(text, text, text, timestamptz) is
'The signature of one generation, to append to any address of it: kid=…&exp=…&sig=….

The expiry is rounded up to the hour. The secret is an argument: it may stand in the log of a database that logs
statements, and in the saved queries of an editor; Supabase Vault keeps it from both. Raises ZC001 for what could not be
verified.'$statement$,
$statement$revoke all on function public.sign_generation(text, text, text, timestamptz) from public, anon, authenticated$statement$,
$statement$grant execute on function public.sign_generation(text, text, text, timestamptz) to service_role$statement$,
$statement$create function public.sign_picture_url(
    p_prompt text,
    p_width integer,
    p_height integer,
    p_key_id text,
    p_secret text,
    p_expires_at timestamptz,
    p_format text default 'jpg',
    p_model text default null,
    p_seed text default '',
    p_settings text[] default null
)
returns text
language plpgsql
stable
parallel safe
security invoker
set search_path = ''
as $$
declare
    v_generation_key text := public.image_cache_key(
        p_prompt, p_width, p_height, coalesce(p_model, 'fal-ai/flux/schnell'), p_seed, p_settings
    );
begin
    if (p_format in ('jpg', 'jpeg', 'png', 'webp', 'avif', 'auto')) is not true then
        raise exception using
            errcode = 'ZC001', message = 'There is no such format.', hint = 'Give jpg, jpeg, png, webp, avif or auto.';
    end if;
    return concat(
        format('/%sx%s.%s?text=', p_width, p_height, p_format),
        copperplate.percent_encode(copperplate.fold_text(p_prompt)),
        '&model=' || copperplate.percent_encode(p_model),
        '&seed=' || nullif(p_seed, ''),
        '&' || public.sign_generation(v_generation_key, p_key_id, p_secret, p_expires_at)
    );
end
$$$statement$,
$statement$comment on function public.sign_picture_url(
    text, integer, integer, text, text, timestamptz, text, text, text, text[]
) is
'Path and query of a picture, signed: whoever has it may have the picture made until it expires.

Sizes in pixels. Without a model the address names none and is signed for fal-ai/flux/schnell: give p_model where the
deployment has another default. Settings that are null are the model''s standard ones, as in image_cache_key. See
sign_generation for the secret. Raises ZC001 for what the server would refuse.'$statement$,
$statement$revoke all on function public.sign_picture_url(
    text, integer, integer, text, text, timestamptz, text, text, text, text[]
) from public, anon, authenticated$statement$,
$statement$grant execute on function public.sign_picture_url(
    text, integer, integer, text, text, timestamptz, text, text, text, text[]
) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000390', 'create_discarded_objects', array[
$statement$-- Objects that no row needs any more, until the store has removed them. However an entry goes
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
)$statement$,
$statement$comment on table copperplate.discarded_objects is
'Objects to remove from the store after their grace. Row-level security is on without a policy.'$statement$,
$statement$alter table copperplate.discarded_objects enable row level security$statement$,
$statement$revoke all on table copperplate.discarded_objects from public, anon, authenticated$statement$,
$statement$grant select, insert, update, delete on table copperplate.discarded_objects to service_role$statement$,
$statement$create function copperplate.discard_object(p_kind text, p_path text, p_generation_key text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if p_path is null then
        return;
    end if;
    insert into copperplate.discarded_objects (bucket, path, generation_key, discarded_at)
    select k.bucket, p_path, p_generation_key, copperplate.clock()
    from copperplate.kinds as k
    where k.name = p_kind
    on conflict (bucket, path) do nothing;
end;
$$$statement$,
$statement$comment on function copperplate.discard_object(text, text, text) is
'Note an object for removal after its grace; a null path or a repeat changes nothing.'$statement$,
$statement$revoke all on function copperplate.discard_object(text, text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.discard_object(text, text, text) to service_role$statement$,
$statement$create function copperplate.discarded_with(p_keys text[])
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(jsonb_build_array(d.bucket, d.path) order by d.id), '[]')
    from copperplate.discarded_objects as d
    where d.generation_key = any(p_keys);
$$$statement$,
$statement$comment on function copperplate.discarded_with(text[]) is
'The objects of these generations and source pictures that the store may still have: [[bucket, path]].'$statement$,
$statement$revoke all on function copperplate.discarded_with(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.discarded_with(text[]) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000400', 'create_cache_entries', array[
$statement$-- Entries: one row per stored object, the original included.
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
) with (fillfactor = 70)$statement$,
$statement$create index cache_entries_generation_idx on copperplate.cache_entries (generation_key)$statement$,
$statement$-- Whose bytes somebody brings as a file: any form's. Hashed, a digest takes a third of what it does in a tree.
create index cache_entries_digest_idx on copperplate.cache_entries using hash (digest)$statement$,
$statement$-- For the cleanup of a kind: an entry not served since a date was made before it. No index covers what hits change.
create index cache_entries_created_idx
on copperplate.cache_entries (kind, created_at)
where archived_at is null$statement$,
$statement$create unique index cache_entries_original_idx
on copperplate.cache_entries (generation_key)
where is_original$statement$,
$statement$-- For the placeholders that are still to be made: nearly empty.
create index cache_entries_without_placeholder_idx
on copperplate.cache_entries (key)
where is_original and thumbhash is null$statement$,
$statement$-- Of the forms in one format people are shown one.
create unique index cache_entries_shown_idx
on copperplate.cache_entries (generation_key, format)
where is_shown$statement$,
$statement$comment on table copperplate.cache_entries is
'One row per stored object. Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.cache_entries enable row level security$statement$,
$statement$revoke all on table copperplate.cache_entries from public, anon, authenticated$statement$,
$statement$grant select, insert, update, delete on table copperplate.cache_entries to service_role$statement$,
$statement$-- An original that only backs its renditions is no picture of its own.
create view copperplate.shown_entries
with (security_invoker = true)
as
select *
from copperplate.cache_entries
where is_shown$statement$,
$statement$comment on view copperplate.shown_entries is
'The entries that people are shown: counted as pictures, and listed in the view of their kind.'$statement$,
$statement$revoke all on table copperplate.shown_entries from public, anon, authenticated, service_role$statement$,
$statement$grant select on table copperplate.shown_entries to service_role$statement$,
$statement$create function copperplate.note_entry_added()
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
$$$statement$,
$statement$comment on function copperplate.note_entry_added() is 'Adds a new entry to the public totals.'$statement$,
$statement$revoke all on function copperplate.note_entry_added() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_entry_added() to service_role$statement$,
$statement$create function copperplate.promote_entries(p_generation_keys text[])
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
$$$statement$,
$statement$comment on function copperplate.promote_entries(text[]) is
'Where the shown form of a format went alone, the first of its other forms is shown in its place.'$statement$,
$statement$revoke all on function copperplate.promote_entries(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.promote_entries(text[]) to service_role$statement$,
$statement$create function copperplate.note_entries_removed()
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
$$$statement$,
$statement$comment on function copperplate.note_entries_removed() is
'Queues the objects of removed entries for removal, subtracts them from the public totals, and gives back what was paid
for a picture whose address was never told.'$statement$,
$statement$revoke all on function copperplate.note_entries_removed() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_entries_removed() to service_role$statement$,
$statement$create trigger cache_entries_added
after insert on copperplate.cache_entries
for each row execute function copperplate.note_entry_added()$statement$,
$statement$create trigger cache_entries_removed
after delete on copperplate.cache_entries
referencing old table as removed
for each statement execute function copperplate.note_entries_removed()$statement$,
$statement$create function copperplate.note_generations_removed()
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
$$$statement$,
$statement$comment on function copperplate.note_generations_removed() is
'Queues the objects that removed generations were about to store for removal, and gives back what these held.'$statement$,
$statement$revoke all on function copperplate.note_generations_removed() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_generations_removed() to service_role$statement$,
$statement$create trigger generation_status_removed
after delete on public.generation_status
referencing old table as removed
for each statement execute function copperplate.note_generations_removed()$statement$
]);

select pg_temp.apply_migration('20261120000402', 'create_cdn_purges', array[
$statement$-- The outbox of CDN purges: copies outside of our reach that were declared wrong, until their CDN was told of it. A row
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
)$statement$,
$statement$create index cdn_purges_due_idx on copperplate.cdn_purges (scope, due_at)$statement$,
$statement$create index cdn_purges_claim_idx on copperplate.cdn_purges (claim) where claim is not null$statement$,
$statement$comment on table copperplate.cdn_purges is
'CDN purges that are to be made, and those to be made once more. Row-level security is on without a policy: only
service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.cdn_purges enable row level security$statement$,
$statement$revoke all on table copperplate.cdn_purges from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.cdn_purges to service_role$statement$,
$statement$create function copperplate.add_cdn_purges(p_generation_keys text[], p_objects jsonb)
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
$$$statement$,
$statement$comment on function copperplate.add_cdn_purges(text[], jsonb) is
'Have CDNs forget these generations, and these objects, [[bucket, path]]; a null key is everything, a null path a whole
bucket. More than 100 are everything, or their whole buckets.'$statement$,
$statement$revoke all on function copperplate.add_cdn_purges(text[], jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.add_cdn_purges(text[], jsonb) to service_role$statement$,
$statement$create function copperplate.without_private(p_generation_keys text[])
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
$$$statement$,
$statement$comment on function copperplate.without_private(text[]) is
'Of these generations those that may be in a CDN by their tag: all but those that are known to be of a private kind.'$statement$,
$statement$revoke all on function copperplate.without_private(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.without_private(text[]) to service_role$statement$,
$statement$create function copperplate.add_cdn_purges_of_all()
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
$$$statement$,
$statement$comment on function copperplate.add_cdn_purges_of_all() is 'Have CDNs forget everything of ours.'$statement$,
$statement$revoke all on function copperplate.add_cdn_purges_of_all() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.add_cdn_purges_of_all() to service_role$statement$,
$statement$create function copperplate.set_aging(p_is_aging boolean)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform set_config('copperplate.is_aging', case when p_is_aging then 'on' else '' end, true);
end;
$$$statement$,
$statement$comment on function copperplate.set_aging(boolean) is
'Whether what this transaction deletes from now on is old, displaced, or declared by its caller, and not declared wrong
by the deletion itself. Whoever sets it takes it back: without it too much is purged, left behind it too little.'$statement$,
$statement$revoke all on function copperplate.set_aging(boolean) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.set_aging(boolean) to service_role$statement$,
$statement$create function copperplate.note_cdn_purges()
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
$$$statement$,
$statement$comment on function copperplate.note_cdn_purges() is
'An entry that is deleted is declared wrong, whoever deletes it, unless it is marked as aging: CDNs are to forget it.'$statement$,
$statement$revoke all on function copperplate.note_cdn_purges() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_cdn_purges() to service_role$statement$,
$statement$create trigger cache_entries_wrong_in_cdns
after delete on copperplate.cache_entries
referencing old table as removed
for each statement execute function copperplate.note_cdn_purges()$statement$,
$statement$create trigger cache_entries_truncated_in_cdns
after truncate on copperplate.cache_entries
for each statement execute function copperplate.note_cdn_purges()$statement$,
$statement$create function copperplate.due_cdn_scopes()
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
$$$statement$,
$statement$comment on function copperplate.due_cdn_scopes() is 'The scopes of which a CDN purge is due.'$statement$,
$statement$revoke all on function copperplate.due_cdn_scopes() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.due_cdn_scopes() to service_role$statement$,
$statement$create function copperplate.forget_old_cdn_purges(p_limit integer)
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
$$$statement$,
$statement$comment on function copperplate.forget_old_cdn_purges(integer) is
'Forget at most p_limit purges that no process ever took in 2 days, as none has a CDN to tell: a cron takes them once a
day, and sweeps before it does. What was taken goes after 31 days, at last.'$statement$,
$statement$revoke all on function copperplate.forget_old_cdn_purges(integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.forget_old_cdn_purges(integer) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000403', 'create_cdn_purge_steps', array[
$statement$-- The steps of CDN purges: take what is due, and settle it.

create function copperplate.merge_cdn_purges(p_ids bigint[], p_now timestamptz)
returns bigint[]
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_ids bigint[];
begin
    with merged as (
        delete from copperplate.cdn_purges as p where p.id = any(p_ids)
        returning p.scope, p.bucket, p.declared_at, p.tries
    ),

    added as (
        -- All of them are seen now, and none of them sooner.
        insert into copperplate.cdn_purges (scope, bucket, declared_at, seen_at, tries, due_at)
        select m.scope, m.bucket, max(m.declared_at), p_now, max(m.tries), p_now
        from merged as m
        group by m.scope, m.bucket
        returning id
    )

    select array_agg(a.id) into v_ids from added as a;
    return v_ids;
end;
$$$statement$,
$statement$comment on function copperplate.merge_cdn_purges(bigint[], timestamptz) is
'Put purges of everything, or of whole buckets, in the place of these, which the caller has locked; answers their ids.'$statement$,
$statement$revoke all on function copperplate.merge_cdn_purges(bigint[], timestamptz) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.merge_cdn_purges(bigint[], timestamptz) to service_role$statement$,
$statement$create function copperplate.lock_due_cdn_purges(p_scope text, p_limit integer, p_now timestamptz)
returns bigint[]
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_ids bigint[];
    v_whole bigint;
begin
    v_ids := array(
        select p.id
        from copperplate.cdn_purges as p
        where p.scope = p_scope and p.due_at <= p_now
        order by p.due_at
        -- What is more is merged by the next calls: a call stays well below the database's time limit.
        limit 5000
        for update skip locked
    );
    select count(*)
    into v_whole
    from copperplate.cdn_purges as p
    where p.id = any(v_ids) and p.generation_key is null and p.path is null;
    -- One of everything stands for all others.
    if
        cardinality(v_ids) > greatest(p_limit, v_whole)
        or (p_scope = 'tag' and v_whole > 0 and cardinality(v_ids) > 1)
    then
        return copperplate.merge_cdn_purges(v_ids, p_now);
    end if;
    return v_ids;
end;
$$$statement$,
$statement$comment on function copperplate.lock_due_cdn_purges(text, integer, timestamptz) is
'The ids of due purges, locked. More than p_limit are merged into everything, or into their whole buckets.'$statement$,
$statement$revoke all on function copperplate.lock_due_cdn_purges(text, integer, timestamptz) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.lock_due_cdn_purges(text, integer, timestamptz) to service_role$statement$,
$statement$create function copperplate.drop_ended_cdn_purges(p_scopes text[], p_lifetime interval, p_now timestamptz)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_dropped integer;
begin
    delete from copperplate.cdn_purges as p
    where p.id in (
        select o.id
        from copperplate.cdn_purges as o
        where o.scope = any(p_scopes) and o.due_at <= p_now and o.seen_at < p_now - p_lifetime
        limit 5000
        for update skip locked
    );
    get diagnostics v_dropped = row_count;
    return v_dropped;
end;
$$$statement$,
$statement$comment on function copperplate.drop_ended_cdn_purges(text[], interval, timestamptz) is
'Forget purges that were seen longer ago than a copy lives, and are not being made; answers how many.'$statement$,
$statement$revoke all on function copperplate.drop_ended_cdn_purges(text[], interval, timestamptz)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.drop_ended_cdn_purges(text[], interval, timestamptz) to service_role$statement$,
$statement$create function copperplate.claimed_discarded_objects(p_claim uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(distinct jsonb_build_array(d.bucket, d.path)), '[]')
    from copperplate.cdn_purges as p
    inner join copperplate.discarded_objects as d on p.bucket = d.bucket and p.path = d.path
    where
        p.claim = p_claim
        -- As in claim_discarded: never an object that a row needs after all.
        and not coalesce((
            select true from copperplate.cache_entries as e
            where e.bucket = d.bucket and e.path = d.path
            limit 1
        ), false)
        and not coalesce((
            select true from public.generation_status as g
            where g.prompt_hash = d.generation_key and g.intent ->> 'path' = d.path
            limit 1
        ), false);
$$$statement$,
$statement$comment on function copperplate.claimed_discarded_objects(uuid) is
'Of the objects that are taken under this claim those that no row needs any more: [[bucket, path]]. Of others only the
copies are wrong.'$statement$,
$statement$revoke all on function copperplate.claimed_discarded_objects(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.claimed_discarded_objects(uuid) to service_role$statement$,
$statement$create function copperplate.claimed_cdn_purges(p_claim uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'keys',
        coalesce(jsonb_agg(distinct p.generation_key) filter (where p.generation_key is not null), '[]'),
        'is_everything', coalesce(bool_or(p.scope = 'tag' and p.generation_key is null), false),
        'objects',
        coalesce(jsonb_agg(distinct jsonb_build_array(p.bucket, p.path)) filter (where p.scope = 'object'), '[]'),
        'discarded', copperplate.claimed_discarded_objects(p_claim)
    )
    from copperplate.cdn_purges as p
    where p.claim = p_claim;
$$$statement$,
$statement$comment on function copperplate.claimed_cdn_purges(uuid) is
'What is taken under this claim: {keys, is_everything, objects: [[bucket, path]], discarded}, the last as objects: see
claimed_discarded_objects.'$statement$,
$statement$revoke all on function copperplate.claimed_cdn_purges(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.claimed_cdn_purges(uuid) to service_role$statement$,
$statement$create function public.take_cdn_purges(
    p_scopes text[], p_claim uuid, p_limit integer, p_held_for interval, p_lifetime interval
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_dropped integer;
    v_ids bigint[];
begin
    v_dropped := copperplate.drop_ended_cdn_purges(p_scopes, p_lifetime, v_now);
    -- A statement of its own: the next one is to see what was merged.
    v_ids := array(
        select l.id
        from unnest(p_scopes) as s (scope)
        cross join lateral unnest(copperplate.lock_due_cdn_purges(s.scope, p_limit, v_now)) as l (id)
    );
    update copperplate.cdn_purges as p
    set
        claim = p_claim, due_at = v_now + p_held_for, seen_at = coalesce(p.seen_at, v_now), tried_at = v_now,
        tries = p.tries + 1
    where p.id = any(v_ids);
    -- A call that is repeated answers what the first one took, too.
    return copperplate.claimed_cdn_purges(p_claim) || jsonb_build_object('dropped', v_dropped);
end;
$$$statement$,
$statement$comment on function public.take_cdn_purges(text[], uuid, integer, interval, interval) is
'Take the CDN purges that are due of these scopes (tag, object), under a claim that the caller makes up; for p_held_for
nobody else takes them. Answers {keys, is_everything, objects: [[bucket, path]], discarded, dropped}: more than p_limit
of a scope are everything, or their whole buckets (path null); discarded are those of the objects that no row needs any
more, which alone may leave the store; dropped is how many were given up, as they were first seen longer ago than
p_lifetime, as long as a copy lives.'$statement$,
$statement$revoke all on function public.take_cdn_purges(text[], uuid, integer, interval, interval)
from public, anon, authenticated$statement$,
$statement$grant execute on function public.take_cdn_purges(text[], uuid, integer, interval, interval) to service_role$statement$,
$statement$create function public.settle_cdn_purges(p_claim uuid, p_scope text, p_is_done boolean)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- For three seconds after it was declared wrong a picture may still be answered from a tier, into a CDN that was
    -- purged at once; and then its answer may be on its way.
    c_last constant interval := interval '10 seconds';
    v_now timestamptz := copperplate.clock();
    v_left integer;
begin
    delete from copperplate.cdn_purges as p
    where p.claim = p_claim and p.scope = p_scope and p_is_done and p.tried_at >= p.seen_at + c_last;
    update copperplate.cdn_purges as p
    set
        claim = null,
        tries = case when p_is_done then 0 else p.tries end,
        due_at = case
            when p_is_done then p.seen_at + c_last
            else v_now + least(interval '5 seconds' * 2 ^ least(p.tries - 1, 10), interval '5 minutes')
        end
    where p.claim = p_claim and p.scope = p_scope;
    get diagnostics v_left = row_count;
    return v_left;
end;
$$$statement$,
$statement$comment on function public.settle_cdn_purges(uuid, text, boolean) is
'The CDN was told of what this claim took of a scope, or could not be told: that is due again after 5 seconds, then
twice as long each time, five minutes at most. What it was told of less than 10 seconds after it was first seen is told
once more then. Answers how many are left for that.'$statement$,
$statement$revoke all on function public.settle_cdn_purges(uuid, text, boolean) from public, anon, authenticated$statement$,
$statement$grant execute on function public.settle_cdn_purges(uuid, text, boolean) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000405', 'create_invalidations', array[
$statement$-- The feed of invalidations: which copies of pictures are wrong, wherever processes keep them. However an entry goes
-- (cleanup, purge, takedown, a missing object, a person's DELETE, a cascade), its generation is named here.
create table copperplate.invalidations (
    -- The top-level transaction that declared them wrong: a snapshot tells whether its reader has seen it.
    transaction xid8 not null default pg_current_xact_id(),
    id bigint generated always as identity,
    -- Null: of all generations.
    generation_key text,
    -- Null: in every tier.
    tier text,
    -- A reader asks for what is newer than a transaction.
    constraint invalidations_pkey primary key (transaction, id),
    constraint invalidations_tier_is_known check (tier in ('memory', 'disk', 'redis'))
)$statement$,
$statement$comment on table copperplate.invalidations is
'Copies of pictures that were declared wrong in the last day or two.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.invalidations enable row level security$statement$,
$statement$revoke all on table copperplate.invalidations from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, delete on table copperplate.invalidations to service_role$statement$,
$statement$-- What the feed knows of itself: one row.
create table copperplate.feed_states (
    is_only boolean not null default true,
    -- Renewed after a restore, by raise_fences.
    database_id uuid not null default gen_random_uuid(),
    -- Invalidations by transactions that this snapshot includes may be forgotten.
    forgotten pg_snapshot not null default '1:1:',
    -- The snapshot of `marked_at`, which takes its place a day later.
    marked pg_snapshot not null default pg_current_snapshot(),
    marked_at timestamptz not null default copperplate.clock(),
    constraint feed_states_pkey primary key (is_only),
    constraint feed_states_one_row check (is_only)
)$statement$,
$statement$comment on table copperplate.feed_states is
'One row: the id of this database, and how far invalidations may be forgotten.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.feed_states enable row level security$statement$,
$statement$revoke all on table copperplate.feed_states from public, anon, authenticated, service_role$statement$,
$statement$grant select, update on table copperplate.feed_states to service_role$statement$,
$statement$insert into copperplate.feed_states (is_only) values (true)$statement$,
$statement$create function copperplate.note_entries_wrong()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
declare
    -- As many as read_feed tells: of more its readers drop all that they have.
    c_most constant integer := 10000;
    v_has_many boolean := (
        select count(*) > c_most from (select distinct e.generation_key from removed as e limit c_most + 1) as k
    );
begin
    insert into copperplate.invalidations (generation_key)
    select distinct case when not v_has_many then e.generation_key end from removed as e;
    return null;
end;
$$$statement$,
$statement$comment on function copperplate.note_entries_wrong() is
'Declares copies of removed entries wrong: one invalidation a generation and statement, or, of more than 10,000
generations, one of all.'$statement$,
$statement$revoke all on function copperplate.note_entries_wrong() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_entries_wrong() to service_role$statement$,
$statement$create function copperplate.note_entry_replaced()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    insert into copperplate.invalidations (generation_key) values (old.generation_key);
    return null;
end;
$$$statement$,
$statement$comment on function copperplate.note_entry_replaced() is
'Declares copies of an entry wrong that has another object now.'$statement$,
$statement$revoke all on function copperplate.note_entry_replaced() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_entry_replaced() to service_role$statement$,
$statement$create function copperplate.note_all_wrong()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    insert into copperplate.invalidations (generation_key) values (null);
    return null;
end;
$$$statement$,
$statement$comment on function copperplate.note_all_wrong() is 'Declares copies of all pictures wrong.'$statement$,
$statement$revoke all on function copperplate.note_all_wrong() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_all_wrong() to service_role$statement$,
$statement$create trigger cache_entries_wrong
after delete on copperplate.cache_entries
referencing old table as removed
for each statement execute function copperplate.note_entries_wrong()$statement$,
$statement$-- A row at a time: a trigger of some columns has no table of its rows, and one of all would see every hit that is
-- counted. Entries are replaced one by one.
create trigger cache_entries_replaced
after update of bucket, path, digest on copperplate.cache_entries
for each row
when ((old.bucket, old.path, old.digest) is distinct from (new.bucket, new.path, new.digest))
execute function copperplate.note_entry_replaced()$statement$,
$statement$create trigger cache_entries_truncated
after truncate on copperplate.cache_entries
for each statement execute function copperplate.note_all_wrong()$statement$,
$statement$create function public.invalidate_tiers(p_tiers text[], p_generation_keys text[] default null)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_noted bigint;
begin
    insert into copperplate.invalidations (generation_key, tier)
    select distinct k.key, t.tier
    from unnest(p_tiers) as t (tier)
    cross join unnest(coalesce(p_generation_keys, array[null::text])) as k (key)
    -- Without its name a tier would be every tier.
    where t.tier is not null and (k.key is not null or p_generation_keys is null);
    get diagnostics v_noted = row_count;
    return v_noted;
end;
$$$statement$,
$statement$comment on function public.invalidate_tiers(text[], text[]) is
'Declare copies in these tiers (memory, disk, redis) wrong, of these generations or, where they are null, of all; the
pictures stay. Answers how many invalidations that makes. Repeated, it declares them wrong once more.'$statement$,
$statement$revoke all on function public.invalidate_tiers(text[], text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function public.invalidate_tiers(text[], text[]) to service_role$statement$,
$statement$create function copperplate.forget_invalidations(p_limit integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_state copperplate.feed_states;
begin
    -- One at a time; whoever finds another at it leaves it to that one.
    select s.* into v_state from copperplate.feed_states as s for update skip locked;
    if not found then
        return;
    end if;
    if v_state.marked_at < copperplate.clock() - interval '1 day' then
        -- One of the future was restored from another server: nothing of this one is in it.
        update copperplate.feed_states as s
        set
            forgotten = case
                when pg_snapshot_xmax(s.marked) <= pg_snapshot_xmax(pg_current_snapshot()) then s.marked else '1:1:'
            end,
            marked = pg_current_snapshot(),
            marked_at = copperplate.clock()
        where s.is_only
        returning s.* into v_state;
    end if;
    -- By their places: nothing updates them.
    delete from copperplate.invalidations as i
    where i.ctid = any(array(
        select o.ctid
        from copperplate.invalidations as o
        where
            o.transaction < pg_snapshot_xmax(v_state.forgotten)
            and pg_visible_in_snapshot(o.transaction, v_state.forgotten)
        order by o.transaction, o.id
        limit p_limit
    ));
end;
$$$statement$,
$statement$comment on function copperplate.forget_invalidations(integer) is
'Forget invalidations that are a day old at least, p_limit at most. A cursor from before them is not continued.'$statement$,
$statement$revoke all on function copperplate.forget_invalidations(integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.forget_invalidations(integer) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000406', 'create_feed', array[
$statement$-- How processes read the feed of invalidations. A cursor is a snapshot: which transactions had ended when it was taken.

-- Security definer, with its owner's rights: what may be read of the server depends on the role, and the id must not.
-- It takes nothing and answers a digest.
create function copperplate.database_id()
returns text
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    -- A dump that is restored makes the table anew, on the same server too.
    v_parts text := concat_ws(
        ' ', (select s.database_id from copperplate.feed_states as s),
        (select d.oid from pg_database as d where d.datname = current_database()),
        'copperplate.invalidations'::regclass::oid
    );
begin
    -- Every recovery from an archive and every promotion begins a timeline. A standby has no number of one to tell.
    if not pg_is_in_recovery()
    and has_function_privilege('pg_walfile_name(pg_lsn)', 'execute')
    and has_function_privilege('pg_current_wal_lsn()', 'execute') then
        v_parts := v_parts || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8);
    end if;
    if has_function_privilege('pg_control_system()', 'execute') then
        v_parts := v_parts || ' ' || (select c.system_identifier from pg_control_system() as c);
    end if;
    return left(encode(sha256(convert_to(v_parts, 'UTF8')), 'hex'), 32);
end;
$$$statement$,
$statement$comment on function copperplate.database_id() is
'The id of this database, 32 hexadecimal digits: another one after a restore, a promotion, or raise_fences.'$statement$,
$statement$revoke all on function copperplate.database_id() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.database_id() to service_role$statement$,
$statement$create function copperplate.covers(p_snapshot pg_snapshot, p_other pg_snapshot)
returns boolean
language sql
immutable
security invoker
set search_path = ''
as $$
    select
        pg_snapshot_xmax(p_snapshot) >= pg_snapshot_xmax(p_other)
        and not exists (
            select from pg_snapshot_xip(p_snapshot) as x (running) where pg_visible_in_snapshot(x.running, p_other)
        );
$$$statement$,
$statement$comment on function copperplate.covers(pg_snapshot, pg_snapshot) is
'Whether a snapshot includes every transaction that another one includes.'$statement$,
$statement$revoke all on function copperplate.covers(pg_snapshot, pg_snapshot) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.covers(pg_snapshot, pg_snapshot) to service_role$statement$,
$statement$create function copperplate.list_invalidations(p_from xid8, p_since pg_snapshot, p_limit integer)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(jsonb_build_array(n.transaction::text::bigint, n.generation_key, n.tier)), '[]')
    from (
        select i.transaction, i.generation_key, i.tier
        from copperplate.invalidations as i
        where
            i.transaction >= p_from
            -- What was restored from another server may be of its future.
            and i.transaction < pg_snapshot_xmax(pg_current_snapshot())
            and (p_since is null or not pg_visible_in_snapshot(i.transaction, p_since))
        order by i.transaction, i.id
        limit p_limit
    ) as n;
$$$statement$,
$statement$comment on function copperplate.list_invalidations(xid8, pg_snapshot, integer) is
'Invalidations from a transaction on, without those by transactions that a snapshot includes, as [[transaction,
generation_key, tier]]; p_limit at most.'$statement$,
$statement$revoke all on function copperplate.list_invalidations(xid8, pg_snapshot, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.list_invalidations(xid8, pg_snapshot, integer) to service_role$statement$,
$statement$create function public.read_feed(p_since text default null, p_database text default null)
returns jsonb
language plpgsql
-- All statements of a stable function see one snapshot: the cursor includes what was answered, and nothing else.
stable
security invoker
set search_path = ''
as $$
declare
    -- Above so many a reader does better to drop all that it has.
    c_most constant integer := 10000;
    -- What a reader without a cursor is told.
    c_newest constant integer := 1000;
    v_now pg_snapshot := pg_current_snapshot();
    v_database text := copperplate.database_id();
    v_since pg_snapshot := case when p_database = v_database then p_since::pg_snapshot end;
    -- One of the future was restored from another server: nothing of this one is in it.
    v_forgotten pg_snapshot := coalesce(
        (
            select case when copperplate.covers(v_now, s.forgotten) then s.forgotten else '1:1:' end
            from copperplate.feed_states as s
        ),
        v_now
    );
    v_invalidations jsonb;
    v_from bigint := 0;
begin
    -- The snapshot of a standby names no running transaction: as a cursor it would include what is not committed yet.
    if pg_is_in_recovery() then
        raise exception 'the feed of invalidations is not read from a standby'
            using errcode = 'ZC015', hint = 'Connect to the primary.';
    end if;
    if copperplate.covers(v_now, v_since) and copperplate.covers(v_since, v_forgotten) then
        v_invalidations := copperplate.list_invalidations(pg_snapshot_xmin(v_since), v_since, c_most + 1);
    end if;
    if v_invalidations is null or jsonb_array_length(v_invalidations) > c_most then
        v_since := null;
        -- Whole transactions: the first that does not fit, and all before it, are left out.
        v_from := (
            select i.transaction::text::bigint + 1
            from copperplate.invalidations as i
            where i.transaction < pg_snapshot_xmax(v_now)
            order by i.transaction desc, i.id desc
            offset c_newest
            limit 1
        );
        v_from := greatest(v_from, pg_snapshot_xmax(v_forgotten)::text::bigint);
        v_invalidations := copperplate.list_invalidations(v_from::text::xid8, null, c_newest);
    end if;
    return jsonb_build_object(
        'database', v_database,
        'cursor', v_now::text,
        'invalidations', v_invalidations,
        'is_continued', v_since is not null,
        'known_from', v_from,
        'due_cdn_scopes', copperplate.due_cdn_scopes()
    );
end;
$$$statement$,
$statement$comment on function public.read_feed(text, text) is
'The feed of invalidations: which copies of pictures are wrong. p_since and p_database are the cursor and the database
that the last read answered. Answers database; cursor, a pg_snapshot; invalidations, [[transaction, generation_key or
null for all, tier or null for every one]], those by transactions that p_since does not include; is_continued. Where that
is false, because there was no such cursor, or it is of another database or too old, or there is too much, these are the
newest, at most 1,000: all by transactions from known_from on. due_cdn_scopes tells which copies in CDNs wait to be
purged, [tag, object]. A standby refuses it: ZC015.'$statement$,
$statement$revoke all on function public.read_feed(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.read_feed(text, text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000450', 'create_breakers', array[
$statement$-- The breaker: while a service refuses or fails, no process pays or waits to hear it again.

-- A row exists from a service's first failure to its next success. Providers go by their own name, one model of a
-- provider by `<provider>/<model>`, the stores of buckets by `storage:<bucket>`.
create table copperplate.breakers (
    name text not null,
    -- Failures in a row that speak of the service, none more than ten minutes after the one before; from an opening on
    -- those of later tries.
    failures integer not null default 0,
    -- The generations they belong to, by key; none of a late failure while it rests.
    keys text[] not null default '{}',
    last_failed_at timestamptz not null,
    -- How often it opened in this row of failures; each rest is twice the one before.
    openings integer not null default 0,
    -- Null while closed. Once this has passed, one caller at a time may try.
    open_until timestamptz,
    -- The lease of the caller that is trying.
    probe_until timestamptz,
    -- The class of the failure that opened it: what refused callers are told. Null while closed.
    error_class text,
    -- What the service itself said where it refused us: no secret, no prompt.
    reason text not null default '',
    constraint breakers_pkey primary key (name),
    constraint breakers_counts_are_not_negative check (failures >= 0 and openings >= 0),
    constraint breakers_open_was_opened check (
        (open_until is null) = (openings = 0) and (open_until is null) = (error_class is null)
    ),
    constraint breakers_error_class_is_known check (
        error_class in (
            'rate_limited', 'transient', 'ambiguous', 'bad_output', 'invalid', 'account', 'store', 'uncollected'
        )
    ),
    constraint breakers_reason_is_short check (length(reason) <= 500)
)$statement$,
$statement$comment on table copperplate.breakers is
'One row per service, a provider or the store of a bucket, that failed since it last did what it was asked.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$comment on column copperplate.breakers.name is
'A provider''s name, that with / and a model, or storage: and the bucket.'$statement$,
$statement$alter table copperplate.breakers enable row level security$statement$,
$statement$revoke all on table copperplate.breakers from public, anon, authenticated$statement$,
$statement$grant select, insert, update, delete on table copperplate.breakers to service_role$statement$,
$statement$create function copperplate.services_of(p_provider text, p_kind text, p_model text)
returns text[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return array[
        p_provider,
        p_provider || '/' || p_model,
        (select 'storage:' || k.bucket from copperplate.kinds as k where k.name = p_kind)
    ];
end;
$$$statement$,
$statement$comment on function copperplate.services_of(text, text, text) is
'What a submit needs, by the names of their breakers: the provider, its model, the store.'$statement$,
$statement$revoke all on function copperplate.services_of(text, text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.services_of(text, text, text) to service_role$statement$,
$statement$create function copperplate.longest_rest(p_names text[], out rest interval, out error_class text)
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
begin
    select
        greatest(b.open_until, b.probe_until, c.now) - c.now,
        -- Many prompts in a row that are not accepted: the settings are at fault, not the next prompt.
        -- Who is refused had no answer and has no job: nothing is certain but that the service fails.
        case
            when b.error_class = 'invalid' then 'account'
            when b.error_class in ('ambiguous', 'bad_output', 'uncollected') then 'transient'
            else b.error_class
        end
    into rest, error_class
    from copperplate.breakers as b
    cross join (select copperplate.clock() as now) as c
    where b.name = any (p_names) and b.open_until is not null
    order by 1 desc
    limit 1;
end;
$$$statement$,
$statement$comment on function copperplate.longest_rest(text[]) is
'How long these services may not be asked, and the class of the failure that says so; zero where one caller may try;
nulls while every breaker is closed.'$statement$,
$statement$revoke all on function copperplate.longest_rest(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.longest_rest(text[]) to service_role$statement$,
$statement$create function copperplate.take_probes(p_names text[], p_lease interval)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    -- By name: the one lock order of breakers.
    perform from copperplate.breakers as b where b.name = any (p_names) order by b.name for update;
    update copperplate.breakers as b
    set probe_until = v_now + p_lease
    where b.name = any (p_names) and b.open_until <= v_now and (b.probe_until is null or b.probe_until <= v_now);
    return not exists (
        select from copperplate.breakers as b
        where
            b.name = any (p_names)
            and b.open_until is not null
            and b.probe_until is distinct from v_now + p_lease
    );
end;
$$$statement$,
$statement$comment on function copperplate.take_probes(text[], interval) is
'Become the one caller that tries those services whose rest is over, for the length of its lease. False where another
caller tries one, or where one rests again: what was taken is to be rolled back.'$statement$,
$statement$revoke all on function copperplate.take_probes(text[], interval) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.take_probes(text[], interval) to service_role$statement$,
$statement$create function copperplate.release_probes(p_names text[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
begin
    -- Looking is cheaper than locking nothing.
    if not exists (select from copperplate.breakers as b where b.name = any (p_names) and b.probe_until is not null) then
        return;
    end if;
    -- All of them, by name: one that is not tried now is about to be written by note_failure.
    update copperplate.breakers as b
    set probe_until = null
    where b.probe_until is not null and b.name in (
        select p.name
        from copperplate.breakers as p
        where p.name = any (p_names)
        order by p.name
        for update
    );
end;
$$$statement$,
$statement$comment on function copperplate.release_probes(text[]) is 'The caller that tried is done: the next one may try.'$statement$,
$statement$revoke all on function copperplate.release_probes(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.release_probes(text[]) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000455', 'create_breaker_reports', array[
$statement$-- What is reported to the breakers: failures, successes, refusals.

create function copperplate.open_breaker(p_name text, p_error_class text, p_may_be_prompt boolean)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    -- A caller that was let in before it opened changes nothing by failing late. A try whose prompt may be at fault says
    -- nothing of the service, unless it rests for just that, or five in a row come to it.
    update copperplate.breakers as b
    set
        failures = 0,
        openings = b.openings + 1,
        open_until = v_now + least(interval '30 seconds' * power(2, least(b.openings, 10)), interval '2 minutes'),
        error_class = p_error_class,
        -- These were the words of another failure.
        reason = case when b.error_class = p_error_class then b.reason else '' end
    where
        b.name = p_name
        and (b.open_until is null or b.open_until <= v_now)
        and (b.failures >= 5 or (b.open_until <= v_now and (not p_may_be_prompt or b.error_class = p_error_class)));
end;
$$$statement$,
$statement$comment on function copperplate.open_breaker(text, text, boolean) is
'Open this breaker where five failures are counted, or where the caller was the one that tried.'$statement$,
$statement$revoke all on function copperplate.open_breaker(text, text, boolean) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.open_breaker(text, text, boolean) to service_role$statement$,
$statement$create function copperplate.note_failure(p_name text, p_error_class text, p_generation_key text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    -- One picture that cannot be had says nothing of the service, however often it is asked for.
    v_may_be_prompt boolean := p_error_class in ('bad_output', 'invalid');
begin
    -- These speak of the prompt, were reported by report_refusal, or were counted when they were put off first. A job
    -- is asked for again and again: after the first time that says nothing new of the service.
    if
        p_error_class in ('moderated', 'account', 'lost')
        or (
            p_error_class = 'uncollected'
            and exists (select from copperplate.breakers as b where b.name = p_name and p_generation_key = any (b.keys))
        )
    then
        return;
    end if;

    insert into copperplate.breakers as b (name, failures, keys, last_failed_at)
    values (p_name, 1, array[p_generation_key], v_now)
    on conflict (name) do update
    set
        failures = case
            when b.last_failed_at < v_now - interval '10 minutes' then 1
            when b.open_until > v_now then b.failures
            when v_may_be_prompt and p_generation_key = any (b.keys) then b.failures
            else b.failures + 1
        end,
        keys = case
            when b.last_failed_at < v_now - interval '10 minutes' then array[p_generation_key]
            when p_generation_key = any (b.keys) then b.keys
            when b.open_until > v_now and p_error_class <> 'uncollected' then b.keys
            else b.keys || p_generation_key
        end,
        last_failed_at = v_now;

    perform copperplate.open_breaker(p_name, p_error_class, v_may_be_prompt);
end;
$$$statement$,
$statement$comment on function copperplate.note_failure(text, text, text) is
'Count a failure: five in a row open the breaker for 30 s, a failed try for twice as long as before, at most 2 min.
A try that ends in bad_output or invalid does so only where the breaker was opened by the same.
bad_output, invalid and uncollected count once a generation; moderated and lost never, and account opens by report_refusal.'$statement$,
$statement$revoke all on function copperplate.note_failure(text, text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_failure(text, text, text) to service_role$statement$,
$statement$create function copperplate.note_success(p_names text[], p_asked_at timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
begin
    -- Looking is cheaper than locking nothing.
    if not exists (select from copperplate.breakers as b where b.name = any (p_names)) then
        return;
    end if;
    delete from copperplate.breakers as b
    where b.name in (
        select s.name
        from copperplate.breakers as s
        where s.name = any (p_names) and (s.error_class is distinct from 'account' or s.last_failed_at < p_asked_at)
        order by s.name
        for update
    );
end;
$$$statement$,
$statement$comment on function copperplate.note_success(text[], timestamptz) is
'These services did what they were asked at p_asked_at: their breakers close, unless our account was refused since.'$statement$,
$statement$revoke all on function copperplate.note_success(text[], timestamptz) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_success(text[], timestamptz) to service_role$statement$,
$statement$create function public.report_refusal(p_name text, p_error_class text, p_reason text, p_rest interval)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_is_known boolean;
begin
    insert into copperplate.breakers as b (name, last_failed_at) values (p_name, v_now)
    on conflict (name) do nothing;
    -- Locked before it is read, as the insert does not promise to: of many that report at once, one opens it.
    select b.open_until > v_now and b.error_class = p_error_class
    into v_is_known
    from copperplate.breakers as b
    where b.name = p_name
    for update;

    update copperplate.breakers as b
    set
        failures = 0,
        keys = '{}',
        last_failed_at = v_now,
        openings = 1,
        open_until = v_now + p_rest,
        probe_until = null,
        error_class = p_error_class,
        reason = left(p_reason, 500)
    where b.name = p_name;
    return found and not coalesce(v_is_known, false);
end;
$$$statement$,
$statement$comment on function public.report_refusal(text, text, text, interval) is
'A service refuses whatever it is asked, for the sake of our account or settings there: it rests for p_rest from now.
True for the report that begins the rest, so that one process tells the operator.'$statement$,
$statement$revoke all on function public.report_refusal(text, text, text, interval) from public, anon, authenticated$statement$,
$statement$grant execute on function public.report_refusal(text, text, text, interval) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000470', 'create_submits', array[
$statement$-- The book: what was spent, and what was saved. One row per billable request, written before it is sent and kept for
-- good. Money in millionths of a dollar. A row counts with what the provider reported, and until that is known, or
-- where its answer was lost, with what was estimated: that is its price. Saved is the price of a picture, once for each
-- time it was served without a call. Every figure of money, by whatever route, is a sum over this table.
create table copperplate.submits (
    id bigint generated always as identity,
    -- Stays when the generation goes.
    generation_key text not null,
    kind text not null,
    provider text not null,
    model text not null,
    sent_at timestamptz not null,
    -- By the price table, before; null where the model has no price there.
    estimate_micro_usd bigint,
    -- From what the provider reported; zero where it is known not to bill; null where nothing is known.
    cost_micro_usd bigint,
    -- What its budgets were charged before it was sent, until the bill is known. Null where nothing was booked, or it
    -- was given back with its picture: then the budgets count nothing.
    booked_micro_usd bigint,
    -- By the names that budgets are stored under; the day is that of sent_at.
    budgets text[] not null default '{}',
    -- How often the picture it made was served without a call: hits, stale answers, coalesced ones.
    saved bigint not null default 0,
    constraint submits_pkey primary key (id),
    constraint submits_money_is_not_negative check (
        estimate_micro_usd >= 0 and cost_micro_usd >= 0 and booked_micro_usd >= 0 and saved >= 0
    )
) with (fillfactor = 70)$statement$,
$statement$create index submits_generation_idx on copperplate.submits (generation_key, id)$statement$,
$statement$comment on table copperplate.submits is
'Billable requests to providers, one row each, and what they cost in millionths of a dollar.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$comment on column copperplate.submits.cost_micro_usd is
'From what the provider reported; zero where it does not bill; null where that is not known: then the estimate counts.'$statement$,
$statement$alter table copperplate.submits enable row level security$statement$,
$statement$revoke all on table copperplate.submits from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update on table copperplate.submits to service_role$statement$,
$statement$create function copperplate.note_cost(
    p_generation_key text, p_cost_micro_usd bigint, p_is_free boolean default false, p_reserved jsonb default null
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v record;
    v_changes copperplate.budget_change [] := copperplate.reserved_changes(p_reserved);
begin
    -- The triggers run for an update of no row, too.
    if p_cost_micro_usd is not null then
        -- Read once: a plan that looks for the newest again would pass over the one it locked, and bill one before it.
        with newest as materialized (
            select n.id, n.booked_micro_usd, case when n.booked_micro_usd is not null then n.cost_micro_usd end as cost_micro_usd
            from copperplate.submits as n
            where n.generation_key = p_generation_key
            order by n.id desc
            limit 1
            for no key update
        )

        update copperplate.submits as s
        set
            cost_micro_usd = p_cost_micro_usd,
            booked_micro_usd = case
                when p_is_free then null
                when s.budgets <> '{}' then coalesce(s.booked_micro_usd, p_cost_micro_usd)
            end
        from newest as o
        where s.id = o.id
        returning
            s.budgets, (s.sent_at at time zone 'UTC')::date as day,
            coalesce(s.cost_micro_usd, 0) - coalesce(o.cost_micro_usd, o.booked_micro_usd, 0) as micro_usd,
            (s.booked_micro_usd is not null)::integer - (o.booked_micro_usd is not null)::integer as pictures
        into v;
        -- A bill is a fact: it is counted where it does not fit as well, and then there is no room until that is made up.
        if v.budgets <> '{}' and (v.micro_usd, v.pictures) <> (0, 0) then
            v_changes := v_changes || array(
                select row(
                    n.name, copperplate.budget_day(n.name, v.day), v.micro_usd, v.pictures, null, null, false
                )::copperplate.budget_change
                from unnest(v.budgets) as n (name)
            );
        end if;
    end if;
    if v_changes <> '{}' then
        perform copperplate.change_budgets(v_changes);
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.note_cost(text, bigint, boolean, jsonb) is
'What the newest submit of a generation cost, null where nothing is known; one that is free is given back with its
picture. Its budgets are corrected, and p_reserved, taken off the generation, is given back with that.'$statement$,
$statement$revoke all on function copperplate.note_cost(text, bigint, boolean, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_cost(text, bigint, boolean, jsonb) to service_role$statement$,
$statement$create function copperplate.spent_micro_usd(p_generation_key text)
returns bigint
language sql
stable
security invoker
set search_path = ''
as $$
    select sum(coalesce(s.cost_micro_usd, s.estimate_micro_usd))::bigint
    from public.generation_status as g
    inner join copperplate.submits as s on g.prompt_hash = s.generation_key and g.created_at <= s.sent_at
    where g.prompt_hash = p_generation_key;
$$$statement$,
$statement$comment on function copperplate.spent_micro_usd(text) is
'What a generation cost since its row was made, all submits of it; null where no price is known.'$statement$,
$statement$revoke all on function copperplate.spent_micro_usd(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.spent_micro_usd(text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000475', 'create_money_totals', array[
$statement$-- Sums of the book for readers in a hurry. Its triggers alone write here, in the transaction that changes the book.
-- They only ever insert, so no row is hot; copperplate.fold_money() merges the rows of a day now and then.
create table copperplate.money_totals (
    -- UTC. Of spending, when the request was sent; of savings, when the picture was served.
    day date not null,
    kind text not null,
    provider text not null,
    model text not null,
    submits bigint not null default 0,
    -- Submits that count with their estimate; submits without any price, which are in no sum.
    estimated bigint not null default 0,
    unpriced bigint not null default 0,
    spent_micro_usd bigint not null default 0,
    -- Pictures served without a call; those of them whose price is not known, which are in no sum.
    saved bigint not null default 0,
    unpriced_saved bigint not null default 0,
    saved_micro_usd bigint not null default 0
)$statement$,
$statement$comment on table copperplate.money_totals is
'Sums over copperplate.submits by day (UTC), kind, provider and model, to be added up by the reader. Money in millionths
of a dollar. Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.money_totals enable row level security$statement$,
$statement$revoke all on table copperplate.money_totals from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.money_totals to service_role$statement$,
$statement$-- A submit counts under the day on which it was sent, what it saved under the day on which that is noted.
create function copperplate.add_money(p_submit copperplate.submits, p_times integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_price bigint := coalesce(p_submit.cost_micro_usd, p_submit.estimate_micro_usd);
    v_is_estimated boolean := p_submit.cost_micro_usd is null and v_price is not null;
begin
    insert into copperplate.money_totals (day, kind, provider, model, submits, estimated, unpriced, spent_micro_usd)
    values (
        (p_submit.sent_at at time zone 'UTC')::date, p_submit.kind, p_submit.provider, p_submit.model, p_times,
        v_is_estimated::integer * p_times, (v_price is null)::integer * p_times, coalesce(v_price, 0) * p_times
    );
    if p_submit.saved > 0 then
        insert into copperplate.money_totals (day, kind, provider, model, saved, unpriced_saved, saved_micro_usd)
        values (
            (copperplate.clock() at time zone 'UTC')::date, p_submit.kind, p_submit.provider, p_submit.model,
            p_submit.saved * p_times, (v_price is null)::integer * p_submit.saved * p_times,
            p_submit.saved * coalesce(v_price, 0) * p_times
        );
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.add_money(copperplate.submits, integer) is
'Add a submit and what it saved to the totals p_times, 1 or -1.'$statement$,
$statement$revoke all on function copperplate.add_money(copperplate.submits, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.add_money(copperplate.submits, integer) to service_role$statement$,
$statement$create function copperplate.note_submit()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    if tg_op <> 'INSERT' then
        perform copperplate.add_money(old, -1);
    end if;
    if tg_op <> 'DELETE' then
        perform copperplate.add_money(new, 1);
    end if;
    return null;
end;
$$$statement$,
$statement$comment on function copperplate.note_submit() is
'Keeps the totals of money equal to the book where a submit is added, removed, or counted under another name or day.'$statement$,
$statement$revoke all on function copperplate.note_submit() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_submit() to service_role$statement$,
$statement$create trigger submits_added_or_removed
after insert or delete on copperplate.submits
for each row execute function copperplate.note_submit()$statement$,
$statement$create trigger submits_renamed
after update on copperplate.submits
for each row
when (
    (old.id, old.sent_at, old.kind, old.provider, old.model)
    is distinct from (new.id, new.sent_at, new.kind, new.provider, new.model)
)
execute function copperplate.note_submit()$statement$,
$statement$-- One statement for all rows: a batch of usage counts what hundreds of submits saved.
create function copperplate.note_prices_and_savings()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    insert into copperplate.money_totals (
        day, kind, provider, model, estimated, unpriced, spent_micro_usd, saved, unpriced_saved, saved_micro_usd
    )
    select
        t.day, c.kind, c.provider, c.model, sum(t.estimated), sum(t.unpriced), sum(t.spent), sum(t.saved),
        sum(t.unpriced_saved), sum(t.saved_micro_usd)
    from (
        select
            a.sent_at, a.kind, a.provider, a.model, a.saved, r.saved as was_saved,
            a.cost_micro_usd is null as is_open, coalesce(a.cost_micro_usd, a.estimate_micro_usd) as price,
            r.cost_micro_usd is null as was_open, coalesce(r.cost_micro_usd, r.estimate_micro_usd) as was_price
        from added as a
        inner join removed as r
            on (a.id, a.sent_at, a.kind, a.provider, a.model) = (r.id, r.sent_at, r.kind, r.provider, r.model)
    ) as c
    cross join lateral (
        values
        (
            (c.sent_at at time zone 'UTC')::date,
            (c.is_open and c.price is not null)::integer - (c.was_open and c.was_price is not null)::integer,
            (c.price is null)::integer - (c.was_price is null)::integer,
            coalesce(c.price, 0) - coalesce(c.was_price, 0), 0, 0, 0
        ),
        (
            (copperplate.clock() at time zone 'UTC')::date, 0, 0, 0, c.saved - c.was_saved,
            (c.price is null)::integer * c.saved - (c.was_price is null)::integer * c.was_saved,
            c.saved * coalesce(c.price, 0) - c.was_saved * coalesce(c.was_price, 0)
        )
    ) as t (day, estimated, unpriced, spent, saved, unpriced_saved, saved_micro_usd)
    where (t.estimated, t.unpriced, t.spent, t.saved, t.unpriced_saved, t.saved_micro_usd) <> (0, 0, 0, 0, 0, 0)
    group by t.day, c.kind, c.provider, c.model;
    return null;
end;
$$$statement$,
$statement$comment on function copperplate.note_prices_and_savings() is
'Adds to the totals of money by how much the prices and savings of these submits differ from what they were.'$statement$,
$statement$revoke all on function copperplate.note_prices_and_savings() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_prices_and_savings() to service_role$statement$,
$statement$create trigger submits_changed
after update on copperplate.submits
referencing old table as removed new table as added
for each statement execute function copperplate.note_prices_and_savings()$statement$,
$statement$create function copperplate.fold_money()
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    with gone as (
        delete from copperplate.money_totals as m
        where m.ctid = any(array(
            select o.ctid from copperplate.money_totals as o limit 5000 for update skip locked
        ))
        returning m.*
    )
    insert into copperplate.money_totals (
        day, kind, provider, model, submits, estimated, unpriced, spent_micro_usd, saved, unpriced_saved,
        saved_micro_usd
    )
    select
        g.day, g.kind, g.provider, g.model, sum(g.submits), sum(g.estimated), sum(g.unpriced), sum(g.spent_micro_usd),
        sum(g.saved), sum(g.unpriced_saved), sum(g.saved_micro_usd)
    from gone as g
    group by g.day, g.kind, g.provider, g.model;
end;
$$$statement$,
$statement$comment on function copperplate.fold_money() is
'Merges the totals of money into one row a day, kind, provider and model; concurrent calls split the work.'$statement$,
$statement$revoke all on function copperplate.fold_money() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.fold_money() to service_role$statement$
]);

select pg_temp.apply_migration('20261120000490', 'create_peek', array[
$statement$-- The ledger's answer. `outcome` is hit, lead, wait, negative, free, gone (taken down), denied (the caller cannot pay),
-- refused (by a budget), or stale (a write refused by its fence). The entry's columns are filled for a hit, the
-- generation's where there is a row.
create type copperplate.acquire_result as (
    outcome text,
    kind text,
    entry_key text,
    generation_key text,
    path text,
    digest text,
    file_size bigint,
    format text,
    width integer,
    height integer,
    is_original boolean,
    status text,
    phase text,
    fence bigint,
    leader uuid,
    attempt integer,
    submit_no integer,
    provider_request_id text,
    provider_urls jsonb,
    intent jsonb,
    lease_left_ms integer,
    error_class text,
    retry_after_ms integer,
    decode_no integer,
    job_age_ms integer,
    -- {reason, budget, cap_micro_usd, left_micro_usd, cap_pictures, left_pictures, resets_at, retry_after_ms}
    refusal jsonb,
    encoder_version integer,
    thumbhash text,
    color text,
    -- Of a submit: budgets of which 800 thousandths are used or more, [{budget, permille}].
    near_caps jsonb,
    is_ai_made boolean
)$statement$,
$statement$comment on type copperplate.acquire_result is 'What the ledger answers about one picture.'$statement$,
$statement$revoke all on type copperplate.acquire_result from public, anon, authenticated$statement$,
$statement$grant usage on type copperplate.acquire_result to service_role$statement$,
$statement$create function public.peek_generation(p_generation_key text, p_rendition_key text)
returns copperplate.acquire_result
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v copperplate.acquire_result;
    v_now timestamptz;
begin
    -- The asked rendition, by primary key: the common case ends here.
    select
        e.kind, e.key, e.generation_key, e.path, e.digest, e.file_size, e.format, e.width, e.height, e.is_original,
        e.encoder_version, e.thumbhash, e.color, e.is_ai_made
    into
        v.kind, v.entry_key, v.generation_key, v.path, v.digest, v.file_size, v.format, v.width, v.height,
        v.is_original, v.encoder_version, v.thumbhash, v.color, v.is_ai_made
    from copperplate.cache_entries as e
    where e.key = p_rendition_key;
    if found then
        v.outcome := 'hit';
        return v;
    end if;

    -- Only here: of what is taken down nothing is stored, so no hit has to ask.
    if exists (
        select from copperplate.takedowns as t where t.generation_key in (p_generation_key, p_rendition_key)
    ) then
        v.outcome := 'gone';
        return v;
    end if;

    -- Decided inside the query: each expression of this language costs more than the comparison itself.
    v_now := copperplate.clock();
    select
        case
            when g.status = 'failed' and g.retry_at > v_now then 'negative'
            when g.status in ('pending', 'generating') and g.lease_until > v_now then 'wait'
            else 'free'
        end,
        case
            when g.status in ('pending', 'generating') and g.lease_until > v_now
                then least(ceil(extract(epoch from g.lease_until - v_now) * 1000), 2147483647)::integer
        end,
        case
            when g.status = 'failed' and g.retry_at > v_now
                then least(ceil(extract(epoch from g.retry_at - v_now) * 1000), 2147483647)::integer
        end,
        g.kind, g.status, g.phase, g.fence, g.leader, g.attempt, g.submit_no, g.provider_request_id, g.provider_urls,
        g.intent, g.error_class, g.decode_no,
        case
            when g.noted_at is not null
                then least(ceil(extract(epoch from v_now - g.noted_at) * 1000), 2147483647)::integer
        end
    into
        v.outcome, v.lease_left_ms, v.retry_after_ms,
        v.kind, v.status, v.phase, v.fence, v.leader, v.attempt, v.submit_no, v.provider_request_id, v.provider_urls,
        v.intent, v.error_class, v.decode_no, v.job_age_ms
    from public.generation_status as g
    where g.prompt_hash = p_generation_key;

    if v.status = 'completed' then
        -- Another format was asked before: the original is kept, the rendition can be made from it.
        select
            e.kind, e.key, e.generation_key, e.path, e.digest, e.file_size, e.format, e.width, e.height, e.is_original,
            e.encoder_version, e.thumbhash, e.color, e.is_ai_made
        into
            v.kind, v.entry_key, v.generation_key, v.path, v.digest, v.file_size, v.format, v.width, v.height,
            v.is_original, v.encoder_version, v.thumbhash, v.color, v.is_ai_made
        from copperplate.cache_entries as e
        where e.generation_key = p_generation_key and e.is_original;
        if found then
            v.outcome := 'hit';
        end if;
    elsif v.status is null then
        v.outcome := 'free';
    end if;
    return v;
end;
$$$statement$,
$statement$comment on function public.peek_generation(text, text) is
'Look a picture up without changing anything: hit, wait, negative, gone or free.'$statement$,
$statement$revoke all on function public.peek_generation(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.peek_generation(text, text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000495', 'create_claims', array[
$statement$-- Claims of a lease: compare and set, so that of many who saw the same one wins.

-- A new row for a key nobody has asked for, led by the caller; null when somebody was faster.
create function copperplate.claim_new(
    p_recipe jsonb, p_generation_key text, p_leader uuid, p_lease interval, p_reserved jsonb
)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_fence bigint;
begin
    if public.cache_key(p_recipe) <> p_generation_key then
        raise exception 'the generation key is not the key of the recipe'
            using errcode = 'ZC002', hint = 'Send cache_key(p_recipe) as p_generation_key.';
    end if;

    insert into public.generation_status (
        prompt_hash, kind, recipe, prompt, dimensions, model,
        phase, window_started_at, fence, leader, lease_until, reserved, created_at, updated_at
    )
    select
        p_generation_key, k.name, p_recipe, p_recipe ->> 'prompt',
        -- Of a picture that is made from another, its completion says them.
        coalesce(p_recipe ->> 'size', (p_recipe ->> 'width') || 'x' || (p_recipe ->> 'height'), ''),
        p_recipe ->> 'model',
        'claimed', v_now, nextval('copperplate.fences'), p_leader, v_now + p_lease, p_reserved,
        v_now, v_now
    from copperplate.kinds as k
    where k.name = p_recipe ->> 'kind'
    on conflict (prompt_hash) do nothing
    returning fence into v_fence;
    if v_fence is null and not exists (select from copperplate.kinds as k where k.name = p_recipe ->> 'kind') then
        raise exception 'unknown kind of picture'
            using errcode = 'ZC003', hint = 'Known kinds are the rows of copperplate.kinds.';
    end if;
    return v_fence;
end;
$$$statement$,
$statement$comment on function copperplate.claim_new(jsonb, text, uuid, interval, jsonb) is
'Insert a generation led by the caller; answers its fence, or null if the key exists.'$statement$,
$statement$revoke all on function copperplate.claim_new(jsonb, text, uuid, interval, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.claim_new(jsonb, text, uuid, interval, jsonb) to service_role$statement$,
$statement$-- What a dead leader left behind is kept. After a failure nothing is, except where nothing failed but the collecting:
-- the sweep gave up on a leader, or a leader on a job that could not be had yet.
create function copperplate.resumes(p_seen copperplate.acquire_result)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return coalesce(
        p_seen.status in ('pending', 'generating')
        or (p_seen.status = 'failed' and p_seen.error_class in ('abandoned', 'uncollected')),
        false
    );
end;
$$$statement$,
$statement$comment on function copperplate.resumes(copperplate.acquire_result) is
'Whether the next leader goes on where the last one stopped; otherwise it begins a new attempt.'$statement$,
$statement$revoke all on function copperplate.resumes(copperplate.acquire_result) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.resumes(copperplate.acquire_result) to service_role$statement$,
$statement$-- Take a generation over whose lease ran out, or begin a new attempt after a failure: compare the
-- fence and the state that were seen, and set. Null when somebody was faster.
create function copperplate.claim_again(
    p_seen copperplate.acquire_result, p_generation_key text, p_leader uuid, p_lease interval
)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_resume boolean := copperplate.resumes(p_seen);
    v_fence bigint;
begin
    if not v_resume then
        perform copperplate.discard_object(g.kind, g.intent ->> 'path', g.prompt_hash)
        from public.generation_status as g
        where g.prompt_hash = p_generation_key and g.fence = p_seen.fence;
    end if;

    update public.generation_status as g
    set
        fence = nextval('copperplate.fences'),
        leader = p_leader,
        lease_until = v_now + p_lease,
        status = case when v_resume and g.phase <> 'claimed' then 'generating' else 'pending' end,
        phase = case when v_resume then g.phase else 'claimed' end,
        submit_no = case when v_resume then g.submit_no else 0 end,
        -- Whoever wrote down that a job is not collected yet came back alive from decoding.
        decode_no = case when v_resume and p_seen.error_class is distinct from 'uncollected' then g.decode_no else 0 end,
        provider_request_id = case when v_resume then g.provider_request_id end,
        provider_urls = case when v_resume then g.provider_urls end,
        noted_at = case when v_resume then g.noted_at end,
        intent = case when v_resume then g.intent end,
        -- Only failures of the picture count against the day's attempts: a limited rate and our account do not.
        attempt = case
            when g.window_started_at < v_now - interval '1 day' then 1
            when v_resume or g.error_class in ('rate_limited', 'account') then g.attempt
            else g.attempt + 1
        end,
        window_started_at = case
            when g.window_started_at < v_now - interval '1 day' then v_now else g.window_started_at
        end,
        error_class = null,
        error_message = null,
        retry_at = null,
        completed_at = null,
        updated_at = v_now
    where
        g.prompt_hash = p_generation_key
        and g.fence = p_seen.fence
        and g.status = p_seen.status
        and (g.lease_until is null or g.lease_until <= v_now)
        and (g.retry_at is null or g.retry_at <= v_now)
    returning g.fence into v_fence;
    return v_fence;
end;
$$$statement$,
$statement$comment on function copperplate.claim_again(copperplate.acquire_result, text, uuid, interval) is
'Take over a dead lease or retry a failed generation; answers the new fence, or null if somebody was faster.'$statement$,
$statement$revoke all on function copperplate.claim_again(copperplate.acquire_result, text, uuid, interval)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.claim_again(copperplate.acquire_result, text, uuid, interval) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000500', 'create_acquire', array[
$statement$-- Who may generate: look, then compare and set. Reading first keeps waiters from locking anything, and who is refused
-- from writing; an upsert would lock the row even when it refuses, at a fifth of the speed.

create function public.acquire_generation(
    p_recipe jsonb,
    p_generation_key text,
    p_rendition_key text,
    p_leader uuid,
    p_lease interval,
    p_charges jsonb default '[]',
    p_services text[] default '{}',
    p_spending jsonb default null
)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v copperplate.acquire_result;
    v_look copperplate.budget_look;
    v_submits boolean;
    v_fence bigint;
    v_rest interval;
    v_error_class text;
begin
    -- Each round looks anew; a round is lost only to somebody who won, so few are ever needed.
    for v_round in 1..5 loop
        -- Of this round alone: a lost one may have found a service at rest, and this one a job that needs none.
        v_rest := null;
        v := public.peek_generation(p_generation_key, p_rendition_key);
        if v.outcome = 'wait' and v.leader = p_leader then
            -- The holder asks again: its first answer was lost. It trusts its lease from this call on, so
            -- the lease runs from here.
            if public.heartbeat_generation(p_generation_key, v.fence, p_lease) then
                v.outcome := 'lead';
                return v;
            end if;
            continue;
        elsif v.outcome = 'gone' then
            perform copperplate.enforce_takedown(p_generation_key, p_rendition_key);
            return v;
        elsif v.outcome <> 'free' then
            return v;
        end if;

        -- Under a stricter isolation the next look would not see the winner.
        if current_setting('transaction_isolation') <> 'read committed' then
            raise exception 'acquire_generation needs read committed'
                using errcode = 'ZC004', hint = 'Remove default_transaction_isolation from the role or database.';
        end if;

        -- Of what was taken down nothing is made. Held until this election can be seen by the next takedown.
        if p_recipe ->> 'kind' = 'processed' then
            perform copperplate.hold_lineage();
            if copperplate.source_is_taken_down(p_recipe ->> 'source') then
                v := null;
                v.outcome := 'gone';
                return v;
            end if;
        end if;

        -- What is paid for is collected whatever the breakers say; only a new submit has to wait.
        v_submits := not copperplate.resumes(v) or (v.provider_request_id is null and v.intent is null);
        if v_submits then
            -- Hardly ever does anything rest.
            if exists (select from copperplate.breakers as b where b.open_until is not null) then
                select r.rest, r.error_class into v_rest, v_error_class from copperplate.longest_rest(p_services) as r;
            end if;
            if v_rest > interval '0' then
                v.outcome := 'negative';
                v.error_class := v_error_class;
                v.retry_after_ms := least(ceil(extract(epoch from v_rest) * 1000), 2147483647)::integer;
                return v;
            end if;
        end if;

        if p_charges <> '[]' and not copperplate.can_pay(p_generation_key, p_charges) then
            v.outcome := 'denied';
            return v;
        end if;
        v_look := null;
        if v_submits and p_spending is not null then
            v_look := copperplate.look_for_lead(p_spending, p_generation_key, v.status is null);
            if v_look.refusal is not null then
                v.outcome := 'refused';
                v.refusal := v_look.refusal;
                return v;
            end if;
        end if;

        begin
            if v.status is null then
                v_fence := copperplate.claim_new(
                    p_recipe, p_generation_key, p_leader, p_lease, copperplate.reservation_of(v_look, p_spending)
                );
            else
                v_fence := copperplate.claim_again(v, p_generation_key, p_leader, p_lease);
            end if;
            -- Generation first, then breakers: the one lock order. Who is too late gives the lease back.
            if v_rest is not null and v_fence is not null and not copperplate.take_probes(p_services, p_lease) then
                raise exception 'another caller tries this service' using errcode = 'ZC007';
            end if;
            if v_fence is not null and p_charges <> '[]' then
                perform copperplate.reserve_charges(p_generation_key, p_charges);
            end if;
            if v_fence is not null and v_look.states is not null then
                perform copperplate.reserve_spending(p_generation_key, v_look, p_spending, v.status is null);
            end if;
        exception
            -- Somebody else tries the service, or took what was left of a budget: the next look tells.
            when sqlstate 'ZC007' or sqlstate 'ZC011' then
                v_fence := null;
            when sqlstate 'ZC008' then
                -- The lease is undone with the rest of the block: nobody waits for one that cannot pay.
                v.outcome := 'denied';
                return v;
        end;
        if v_fence is not null and v.status is null then
            -- As claim_new has just made it: to read it again would cost a tenth of the whole.
            v.kind := p_recipe ->> 'kind';
            v.status := 'pending';
            v.phase := 'claimed';
            v.fence := v_fence;
            v.leader := p_leader;
            v.attempt := 1;
            v.submit_no := 0;
            v.decode_no := 0;
            v.lease_left_ms := least(ceil(extract(epoch from p_lease) * 1000), 2147483647)::integer;
            v.outcome := 'lead';
            return v;
        elsif v_fence is not null then
            v := public.peek_generation(p_generation_key, p_rendition_key);
            -- Taken down in between, by the key of the rendition alone.
            continue when v.outcome = 'gone';
            v.outcome := 'lead';
            return v;
        end if;
    end loop;

    v.outcome := 'wait';
    v.lease_left_ms := 0;
    return v;
end;
$$$statement$,
$statement$comment on function public.acquire_generation(jsonb, text, text, uuid, interval, jsonb, text[], jsonb) is
'Settle what the caller is: hit, lead (with a fence), wait, negative, gone, denied where it would lead and cannot pay
p_charges, [{kind, user_id, amount}], which are reserved with the lead, or refused where it would submit and a budget has
no room for p_spending, {amount_micro_usd, max_in_flight, budgets}. Its own budgets, is_own, are reserved with the lead.
Repeated by the holder it answers the same lead and fence, and the lease runs anew.
While a breaker of p_services, what a submit needs, is open: negative instead of a lead that would submit.'$statement$,
$statement$revoke all on function public.acquire_generation(jsonb, text, text, uuid, interval, jsonb, text[], jsonb)
from public, anon, authenticated$statement$,
$statement$grant execute on function public.acquire_generation(jsonb, text, text, uuid, interval, jsonb, text[], jsonb)
to service_role$statement$
]);

select pg_temp.apply_migration('20261120000600', 'create_submit_steps', array[
$statement$-- The leader's steps up to the picture. Each is one short transaction, carries the fence, and may be repeated. Locks
-- are taken in the order of create_reservations.sql.

create function public.begin_submit(
    p_key text,
    p_fence bigint,
    p_submit_no integer,
    p_provider text,
    p_estimate_micro_usd bigint default null,
    p_spending jsonb default null
)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_before integer;
    v_job text;
    v_kind text;
    v_model text;
    v_path text;
    v_reserved jsonb;
    v_look copperplate.budget_look;
    v_answer copperplate.acquire_result;
begin
    perform copperplate.hold_user(p_spending);
    -- Before money is out: an election that began before the takedown ends here.
    perform copperplate.enforce_takedown(p_key);
    select g.submit_no, g.provider_request_id, g.kind, g.model, g.intent ->> 'path', g.reserved
    into v_before, v_job, v_kind, v_model, v_path, v_reserved
    from public.generation_status as g
    where g.prompt_hash = p_key and g.fence = p_fence and g.status in ('pending', 'generating')
    for update;
    -- A job that a dead leader told of late, after this one took over, is there to be collected.
    if not found or v_job is not null or p_submit_no not in (v_before, v_before + 1) then
        return copperplate.stale();
    end if;
    -- Said before: nothing is counted twice, and a late repeat undoes no later step.
    v_answer.outcome := 'lead';
    if p_submit_no = v_before then
        return v_answer;
    end if;

    if p_spending is not null then
        v_look := copperplate.pass_budgets(p_spending, v_now, p_key, v_reserved);
    elsif v_reserved is not null then
        perform copperplate.release_spending(v_reserved);
    end if;
    if v_look.refusal is not null then
        perform copperplate.give_lead_back(p_key, copperplate.services_of(p_provider, v_kind, v_model), v_reserved);
        v_answer.outcome := 'refused';
        v_answer.refusal := v_look.refusal;
        return v_answer;
    end if;
    v_answer.near_caps := v_look.near_caps;

    perform copperplate.discard_object(v_kind, v_path, p_key);

    update public.generation_status as g
    set
        status = 'generating',
        phase = 'submitting',
        provider = p_provider,
        submit_no = p_submit_no,
        api_calls_made = g.api_calls_made + 1,
        intent = null,
        reserved = null,
        started_at = case when v_before = 0 then v_now else g.started_at end,
        updated_at = v_now
    where g.prompt_hash = p_key;

    insert into copperplate.submits (
        generation_key, kind, provider, model, sent_at, estimate_micro_usd, booked_micro_usd, budgets
    )
    values (
        p_key, v_kind, p_provider, v_model, v_now, p_estimate_micro_usd,
        (p_spending ->> 'amount_micro_usd')::bigint, coalesce(v_look.budgets, '{}')
    );
    insert into copperplate.public_totals (day, kind, api_calls)
    values ((v_now at time zone 'UTC')::date, v_kind, 1);
    return v_answer;
end;
$$$statement$,
$statement$comment on function public.begin_submit(text, bigint, integer, text, bigint, jsonb) is
'Write ahead that submit p_submit_no of this attempt is about to be sent: money may be out from here on, as much as
p_estimate_micro_usd, millionths of a dollar, null where the price is not known. Every budget of p_spending is booked, what
was reserved becomes part of that: lead, with near_caps; refused where one has no room, and then the lead is given back;
stale for an old fence, and while a job is known.'$statement$,
$statement$revoke all on function public.begin_submit(text, bigint, integer, text, bigint, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function public.begin_submit(text, bigint, integer, text, bigint, jsonb) to service_role$statement$,
$statement$create function public.note_request(p_key text, p_fence bigint, p_request_id text, p_urls jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_fence bigint;
begin
    -- An older leader may still tell its id while none is known: it saves a call and leads nowhere.
    update public.generation_status as g
    set
        provider_request_id = p_request_id,
        provider_urls = p_urls,
        -- Said twice, it is the same job, and as old.
        noted_at = case when g.provider_request_id = p_request_id then g.noted_at else copperplate.clock() end,
        phase = case when g.phase = 'submitting' then 'submitted' else g.phase end,
        updated_at = copperplate.clock()
    where
        g.prompt_hash = p_key
        and g.status = 'generating'
        and (g.fence = p_fence or (g.fence > p_fence and g.provider_request_id is null))
    returning g.fence into v_fence;
    return coalesce(v_fence = p_fence, false);
end;
$$$statement$,
$statement$comment on function public.note_request(text, bigint, text, jsonb) is
'Note the provider''s request id, so that a successor collects the job instead of paying again.'$statement$,
$statement$revoke all on function public.note_request(text, bigint, text, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function public.note_request(text, bigint, text, jsonb) to service_role$statement$,
$statement$create function public.begin_decode(p_key text, p_fence bigint, p_decode_no integer)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- Set like the number of a submit, so that a repeated call counts nothing twice.
    update public.generation_status as g
    set decode_no = p_decode_no
    where
        g.prompt_hash = p_key
        and g.fence = p_fence
        and g.status = 'generating'
        and p_decode_no in (g.decode_no, g.decode_no + 1);
    return found;
end;
$$$statement$,
$statement$comment on function public.begin_decode(text, bigint, integer) is
'Write ahead that the picture is about to be decoded: a leader that dies of it leaves the number behind.'$statement$,
$statement$revoke all on function public.begin_decode(text, bigint, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function public.begin_decode(text, bigint, integer) to service_role$statement$,
$statement$create function public.heartbeat_generation(p_key text, p_fence bigint, p_lease interval)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    update public.generation_status as g
    set lease_until = copperplate.clock() + p_lease
    where g.prompt_hash = p_key and g.fence = p_fence and g.status in ('pending', 'generating');
    return found;
end;
$$$statement$,
$statement$comment on function public.heartbeat_generation(text, bigint, interval) is
'Extend the lease of the holder of p_fence; false tells it to stop.'$statement$,
$statement$revoke all on function public.heartbeat_generation(text, bigint, interval) from public, anon, authenticated$statement$,
$statement$grant execute on function public.heartbeat_generation(text, bigint, interval) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000620', 'create_uploads', array[
$statement$-- Objects about to be stored, and entries of those that are.

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
$$$statement$,
$statement$comment on function copperplate.add_usage(jsonb, jsonb) is 'Two reports of a provider, added up unit by unit.'$statement$,
$statement$revoke all on function copperplate.add_usage(jsonb, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.add_usage(jsonb, jsonb) to service_role$statement$,
$statement$create function public.intend_upload(
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
$$$statement$,
$statement$comment on function public.intend_upload(text, bigint, jsonb, jsonb, text[], bigint) is
'Write ahead where the original is about to be stored, so that a successor can adopt it; and renditions beside it, which
are removed if they are not completed within the grace. A picture that is given is stored without a submit.
p_usage, what the provider reported to bill for it, is added up once a submit; p_cost_micro_usd is that in money.'$statement$,
$statement$revoke all on function public.intend_upload(text, bigint, jsonb, jsonb, text[], bigint)
from public, anon, authenticated$statement$,
$statement$grant execute on function public.intend_upload(text, bigint, jsonb, jsonb, text[], bigint) to service_role$statement$,
$statement$create function copperplate.stored(p_key text)
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
$$$statement$,
$statement$comment on function copperplate.stored(text) is 'The entry with this key as a hit; null if there is none.'$statement$,
$statement$revoke all on function copperplate.stored(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.stored(text) to service_role$statement$,
$statement$create function copperplate.stale()
returns copperplate.acquire_result
language sql
immutable
security invoker
set search_path = ''
as $$
    select r.*
    from jsonb_populate_record(null::copperplate.acquire_result, '{"outcome": "stale"}') as r;
$$$statement$,
$statement$comment on function copperplate.stale() is 'The answer to a write whose fence is not the newest.'$statement$,
$statement$revoke all on function copperplate.stale() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.stale() to service_role$statement$,
$statement$create function copperplate.add_entry(
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
$$$statement$,
$statement$comment on function copperplate.add_entry(text, text, boolean, boolean, jsonb) is
'Record a stored object of a generation; an entry that stands already stays.'$statement$,
$statement$revoke all on function copperplate.add_entry(text, text, boolean, boolean, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.add_entry(text, text, boolean, boolean, jsonb) to service_role$statement$,
$statement$-- Where the generation is gone, so is its kind: noted in every bucket, as what is not there is as good as removed.
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
$$$statement$,
$statement$comment on function copperplate.discard_refused(text, text) is
'Note the object of a refused write for removal, in the bucket of its generation''s kind; in all where that is gone.'$statement$,
$statement$revoke all on function copperplate.discard_refused(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.discard_refused(text, text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000630', 'create_kept_renditions', array[
$statement$-- Renditions that are kept: how many, which of them people are shown, what displaces and what replaces others.

create function copperplate.disused_rendition(p_generation_key text)
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return (
        select e.key
        from copperplate.cache_entries as e
        inner join public.generation_status as g on e.generation_key = g.prompt_hash
        where
            e.generation_key = p_generation_key and not e.is_original and e.is_sized and not e.is_shown
            and g.pinned_at is null and e.archived_at is null
            -- A crowd of sizes displaces nothing that is in use, and each form at most once a day.
            and e.last_accessed_at < copperplate.clock() - interval '1 day'
        order by e.last_accessed_at, e.created_at, e.key
        limit 1
    );
end;
$$$statement$,
$statement$comment on function copperplate.disused_rendition(text) is
'The key of the sized form that another may displace: the least recently used, if nobody used it for a day. Null for
none; what people are shown, what is pinned and what is archived stays.'$statement$,
$statement$revoke all on function copperplate.disused_rendition(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.disused_rendition(text) to service_role$statement$,
$statement$create function copperplate.may_keep_rendition(p_generation_key text, p_is_sized boolean)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    -- Whole pictures have at most 16 forms (png, and 3 formats in 5 qualities): 48 sized ones leave room for all.
    return (
        select
            case
                when p_is_sized and c.sized >= 48
                    then c.kept <= 64 and copperplate.disused_rendition(p_generation_key) is not null
                else c.kept < 64
            end
        from (
            select
                count(*) as kept,
                count(*) filter (where e.is_sized) as sized
            from copperplate.cache_entries as e
            where e.generation_key = p_generation_key and not e.is_original
        ) as c
    );
end;
$$$statement$,
$statement$comment on function copperplate.may_keep_rendition(text, boolean) is
'Whether a generation may keep one more rendition: 64 in all, 48 of them sized, or one that a sized one displaces.'$statement$,
$statement$revoke all on function copperplate.may_keep_rendition(text, boolean) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.may_keep_rendition(text, boolean) to service_role$statement$,
$statement$create function copperplate.make_place(p_generation_key text, p_is_sized boolean)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_displaced text;
begin
    if p_is_sized and 48 <= (
        select count(*)
        from copperplate.cache_entries as e
        where e.generation_key = p_generation_key and not e.is_original and e.is_sized
    ) then
        v_displaced := copperplate.disused_rendition(p_generation_key);
        perform copperplate.set_aging(true);
        delete from copperplate.cache_entries as e where e.key = v_displaced;
        perform copperplate.set_aging(false);
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.make_place(text, boolean) is
'Remove the form that a new sized one displaces, if there is no place left. Called under the lock of the generation.'$statement$,
$statement$revoke all on function copperplate.make_place(text, boolean) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.make_place(text, boolean) to service_role$statement$,
$statement$create function copperplate.show_rendition(p_generation_key text, p_upload jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_is_standard boolean := not p_upload @> '{"is_sized": true}' and coalesce((p_upload ->> 'quality')::integer, 85) = 85;
    v_shown copperplate.cache_entries;
begin
    if (
        select k.is_own_original
        from public.generation_status as g
        inner join copperplate.kinds as k on g.kind = k.name
        where g.prompt_hash = p_generation_key
    ) then
        return false;
    end if;
    select e.*
    into v_shown
    from copperplate.cache_entries as e
    where e.generation_key = p_generation_key and e.format = p_upload ->> 'format' and e.is_shown;
    -- A format has one standard form, so what is shown beside a new one is another.
    if not found or not v_is_standard then
        return v_shown.key is null;
    end if;
    update copperplate.cache_entries as e set is_shown = false where e.key = v_shown.key;
    insert into copperplate.public_totals (day, kind, images, image_bytes)
    values ((copperplate.clock() at time zone 'UTC')::date, v_shown.kind, -1, -v_shown.file_size);
    return true;
end;
$$$statement$,
$statement$comment on function copperplate.show_rendition(text, jsonb) is
'Whether people are to be shown this new rendition: the whole picture at quality 85, else the first of its format. The
one that was shown before steps back. Called under the lock of the generation.'$statement$,
$statement$revoke all on function copperplate.show_rendition(text, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.show_rendition(text, jsonb) to service_role$statement$,
$statement$create function copperplate.replace_rendition(p_upload jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_old copperplate.cache_entries;
    v_size bigint := (p_upload ->> 'size_bytes')::bigint;
begin
    select e.* into v_old from copperplate.cache_entries as e where e.key = p_upload ->> 'key' for update;
    update copperplate.cache_entries as e
    set
        path = p_upload ->> 'path', digest = p_upload ->> 'digest', file_size = v_size,
        encoder_version = (p_upload ->> 'encoder_version')::integer
    where e.key = v_old.key;
    perform copperplate.discard_object(v_old.kind, v_old.path, v_old.generation_key);
    insert into copperplate.public_totals (day, kind, image_bytes, stored_bytes)
    values (
        (copperplate.clock() at time zone 'UTC')::date,
        v_old.kind,
        case when v_old.is_shown then v_size - v_old.file_size else 0 end,
        v_size - v_old.file_size
    );
end;
$$$statement$,
$statement$comment on function copperplate.replace_rendition(jsonb) is
'Put the object of newer encoders in the place of an older one, which is discarded; its uses stay.'$statement$,
$statement$revoke all on function copperplate.replace_rendition(jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.replace_rendition(jsonb) to service_role$statement$,
$statement$create function copperplate.take_back(p_generation_key text, p_path text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    delete from copperplate.discarded_objects as d
    using public.generation_status as g
    inner join copperplate.kinds as k on g.kind = k.name
    where g.prompt_hash = p_generation_key and d.bucket = k.bucket and d.path = p_path and d.claimed_until is null;
    return found;
end;
$$$statement$,
$statement$comment on function copperplate.take_back(text, text) is
'Take an object that was written ahead back from among the discarded; false once its removal has begun.'$statement$,
$statement$revoke all on function copperplate.take_back(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.take_back(text, text) to service_role$statement$,
$statement$create function copperplate.add_rendition(p_generation_key text, p_upload jsonb)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_stored copperplate.acquire_result;
    v_may_stand boolean;
begin
    -- One after the other: how many there are, and which is shown, is decided by what is seen here.
    perform from public.generation_status as g where g.prompt_hash = p_generation_key for no key update;
    v_stored := copperplate.stored(p_upload ->> 'key');
    v_may_stand := case
        when v_stored.path is null
            then copperplate.may_keep_rendition(p_generation_key, p_upload @> '{"is_sized": true}')
        -- Under the key of an original nothing else ever stands.
        else not v_stored.is_original and v_stored.encoder_version < coalesce((p_upload ->> 'encoder_version')::integer, 0)
    end;
    if v_may_stand and copperplate.take_back(p_generation_key, p_upload ->> 'path') then
        if v_stored.path is null then
            perform copperplate.make_place(p_generation_key, p_upload @> '{"is_sized": true}');
            perform copperplate.add_entry(
                p_upload ->> 'key', p_generation_key, false,
                copperplate.show_rendition(p_generation_key, p_upload), p_upload
            );
        else
            perform copperplate.replace_rendition(p_upload);
        end if;
        return copperplate.stored(p_upload ->> 'key');
    end if;
    -- Somebody was first, it is too late, or there is no room.
    if v_stored.path is distinct from p_upload ->> 'path' then
        perform copperplate.discard_refused(p_generation_key, p_upload ->> 'path');
    end if;
    return v_stored;
end;
$$$statement$,
$statement$comment on function copperplate.add_rendition(text, jsonb) is
'Record a stored rendition that was written ahead, in place of one by older encoders; answers the entry that stands
then, or null. An object that does not stand is discarded.'$statement$,
$statement$revoke all on function copperplate.add_rendition(text, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.add_rendition(text, jsonb) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000640', 'create_complete', array[
$statement$-- How a generation ends: its original is stored.

create function copperplate.complete_again(
    p_key text, p_original_key text, p_path text, p_renditions jsonb
)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_stored copperplate.acquire_result;
    v_is_ours boolean;
begin
    -- Said before: the same answer. Otherwise we are too late, and our objects belong to nobody, unless a successor has
    -- adopted the original or is about to; the renditions are nobody's then.
    v_is_ours := exists (
        select from copperplate.cache_entries as e
        where e.key = p_original_key and e.path = p_path
    );
    perform copperplate.discard_refused(p_key, r.value ->> 'path')
    from jsonb_array_elements(p_renditions) as r
    where not exists (
        select from copperplate.cache_entries as e
        where e.key = r.value ->> 'key' and e.path = r.value ->> 'path'
    );
    if v_is_ours then
        v_stored := copperplate.stored(p_renditions #>> '{0,key}');
        return case when v_stored.path is null then copperplate.stored(p_original_key) else v_stored end;
    end if;
    perform copperplate.discard_refused(p_key, p_path)
    where not exists (
        select from public.generation_status as g
        where g.prompt_hash = p_key and g.intent ->> 'path' = p_path
    );
    return copperplate.stale();
end;
$$$statement$,
$statement$comment on function copperplate.complete_again(text, text, text, jsonb) is
'The answer to a completion whose lease is over: the entry where it was recorded before, else stale.'$statement$,
$statement$revoke all on function copperplate.complete_again(text, text, text, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.complete_again(text, text, text, jsonb) to service_role$statement$,
$statement$create function public.complete_generation(
    p_key text,
    p_fence bigint,
    p_original_key text,
    -- {path, digest, size_bytes, format, width, height, thumbhash, color, has_c2pa, is_ai_made}
    p_upload jsonb,
    p_url text,
    -- [{key, path, digest, size_bytes, format, width, height, quality, is_sized, encoder_version}], the asked one first
    p_renditions jsonb default '[]'
)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_provider text;
    v_kind text;
    v_model text;
    v_asked_at timestamptz;
    v_reserved jsonb;
    v_is_own_original boolean;
    v_stored copperplate.acquire_result;
begin
    -- Of what was taken down the row goes: nothing is stored, and the objects are discarded below.
    perform copperplate.enforce_takedown(p_key);
    perform copperplate.enforce_takedown(p_key, r.value ->> 'key') from jsonb_array_elements(p_renditions) as r;
    -- A picture that was given says nothing of a provider.
    select case when g.submit_no > 0 then g.provider end, g.kind, g.model, g.started_at, g.reserved
    into v_provider, v_kind, v_model, v_asked_at, v_reserved
    from public.generation_status as g
    where g.prompt_hash = p_key and g.fence = p_fence and g.status = 'generating'
    for update;

    if not found then
        return copperplate.complete_again(p_key, p_original_key, p_upload ->> 'path', p_renditions);
    end if;

    update public.generation_status as g
    set
        status = 'completed', phase = null, format = p_upload ->> 'format', generated_url = p_url, leader = null,
        lease_until = null, intent = null, reserved = null, completed_at = v_now, updated_at = v_now,
        dimensions = coalesce(nullif(g.dimensions, ''), (p_upload ->> 'width') || 'x' || (p_upload ->> 'height'))
    where g.prompt_hash = p_key;
    select k.is_own_original into v_is_own_original from copperplate.kinds as k where k.name = v_kind;
    perform copperplate.add_entry(p_original_key, p_key, true, v_is_own_original, p_upload);
    perform copperplate.add_rendition(p_key, r.value) from jsonb_array_elements(p_renditions) as r;
    v_stored := copperplate.stored(p_renditions #>> '{0,key}');
    perform copperplate.note_success(copperplate.services_of(v_provider, v_kind, v_model), v_asked_at);
    perform copperplate.settle_reservation(p_key, p_url);
    -- Reserved for a submit that was not needed.
    perform copperplate.release_spending(v_reserved);
    insert into copperplate.public_totals (day, kind, completed) values ((v_now at time zone 'UTC')::date, v_kind, 1);
    perform pg_notify('copperplate', p_key);
    return case when v_stored.path is null then copperplate.stored(p_original_key) else v_stored end;
end;
$$$statement$,
$statement$comment on function public.complete_generation(
    text, bigint, text, jsonb, text, jsonb
) is
'Record the stored, verified original, and stored renditions of it: hit with the entry that stands for the first of them
(the original''s where none does), or stale; a stale leader''s objects are discarded.'$statement$,
$statement$revoke all on function public.complete_generation(
    text, bigint, text, jsonb, text, jsonb
) from public, anon, authenticated$statement$,
$statement$grant execute on function public.complete_generation(
    text, bigint, text, jsonb, text, jsonb
) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000650', 'create_fail', array[
$statement$-- How a generation ends: without a picture, for the time being.

create function public.fail_generation(
    p_key text,
    p_fence bigint,
    p_error_class text,
    p_error_message text,
    p_retry_after interval,
    p_billed boolean,
    p_usage jsonb default '{}',
    p_cost_micro_usd bigint default null
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_uncounted integer;
    v_provider text;
    v_kind text;
    v_model text;
    v_reserved jsonb;
begin
    -- A submit that is known to be free is not counted as a billable call; one whose picture was here was billed.
    select
        case when p_billed or g.submit_no = 0 or g.phase = 'uploading' then 0 else 1 end,
        case when g.submit_no > 0 then g.provider end, g.kind, g.model, g.reserved
    into v_uncounted, v_provider, v_kind, v_model, v_reserved
    from public.generation_status as g
    where g.prompt_hash = p_key and g.fence = p_fence and g.status in ('pending', 'generating')
    for update;
    if not found then
        return exists (
            select from public.generation_status as g
            where g.prompt_hash = p_key and g.fence = p_fence and g.status = 'failed'
        );
    end if;

    update public.generation_status as g
    set
        status = 'failed',
        error_class = p_error_class,
        error_message = left(p_error_message, 1000),
        retry_at = v_now + p_retry_after,
        api_calls_made = g.api_calls_made - v_uncounted,
        provider_usage = case
            when g.phase = 'uploading' then g.provider_usage
            else copperplate.add_usage(g.provider_usage, p_usage)
        end,
        leader = null,
        lease_until = null,
        reserved = null,
        updated_at = v_now
    where g.prompt_hash = p_key;

    -- Breakers before reservations, as in complete_generation and acquire_generation.
    perform copperplate.release_probes(copperplate.services_of(v_provider, v_kind, v_model));
    if v_provider is not null then
        perform copperplate.note_failure(v_provider, p_error_class, p_key);
    end if;
    -- Nothing of this attempt is held any longer, and what a free submit was estimated to cost was not spent.
    perform copperplate.give_back_all(array[p_key]);
    perform copperplate.note_cost(
        p_key, case when v_uncounted > 0 then 0 else p_cost_micro_usd end, v_uncounted > 0, v_reserved
    );
    insert into copperplate.public_totals (day, kind, failures, api_calls)
    values (
        (v_now at time zone 'UTC')::date, v_kind,
        -- A job that is to be collected later has not failed.
        case when p_error_class = 'uncollected' then 0 else 1 end,
        -v_uncounted
    );
    perform pg_notify('copperplate', p_key);
    return true;
end;
$$$statement$,
$statement$comment on function public.fail_generation(text, bigint, text, text, interval, boolean, jsonb, bigint) is
'Record a negative entry: no new attempt before p_retry_after has passed. What was reserved is released.
p_usage and p_cost_micro_usd are what the provider reported to bill for a picture that is not usable.'$statement$,
$statement$revoke all on function public.fail_generation(text, bigint, text, text, interval, boolean, jsonb, bigint)
from public, anon, authenticated$statement$,
$statement$grant execute on function public.fail_generation(text, bigint, text, text, interval, boolean, jsonb, bigint)
to service_role$statement$
]);

select pg_temp.apply_migration('20261120000660', 'create_renditions', array[
$statement$-- Renditions made of a stored original, and objects that are gone.

create function public.intend_rendition(
    p_generation_key text, p_original_path text, p_path text, p_key text, p_is_sized boolean
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform copperplate.discard_object(o.kind, p_path, p_generation_key)
    from copperplate.cache_entries as o
    where
        o.generation_key = p_generation_key and o.is_original and o.path = p_original_path
        and (
            copperplate.may_keep_rendition(p_generation_key, p_is_sized)
            -- One of an older version takes no place.
            or exists (select from copperplate.cache_entries as e where e.key = p_key)
        );
    return found;
end;
$$$statement$,
$statement$comment on function public.intend_rendition(text, text, text, text, boolean) is
'Write ahead where a rendition is about to be stored: what is not recorded within the grace is removed.
False if the original is no longer the generation''s, or the generation keeps as many renditions as it may.'$statement$,
$statement$revoke all on function public.intend_rendition(text, text, text, text, boolean) from public, anon, authenticated$statement$,
$statement$grant execute on function public.intend_rendition(text, text, text, text, boolean) to service_role$statement$,
$statement$create function public.record_rendition(
    p_generation_key text,
    p_original_path text,
    -- {key, path, digest, size_bytes, format, width, height, quality, is_sized, encoder_version}
    p_upload jsonb
)
returns copperplate.acquire_result
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_stored copperplate.acquire_result;
begin
    perform copperplate.enforce_takedown(p_generation_key, p_upload ->> 'key');
    -- Locked before the next statement looks: what took the original away meanwhile is seen.
    perform from public.generation_status as g where g.prompt_hash = p_generation_key for no key update;

    -- The original must still be the generation's: a rendition of a picture declared wrong is wrong.
    if exists (
        select from copperplate.cache_entries as o
        where o.generation_key = p_generation_key and o.is_original and o.path = p_original_path
    ) then
        v_stored := copperplate.add_rendition(p_generation_key, p_upload);
    else
        perform copperplate.discard_refused(p_generation_key, p_upload ->> 'path');
    end if;
    return case when v_stored.path is null then copperplate.stale() else v_stored end;
end;
$$$statement$,
$statement$comment on function public.record_rendition(text, text, jsonb) is
'Record a stored rendition; answers the entry that now stands, which is of no older encoders.
Stale if the original changed, the object was not intended within the grace, or there is no room for one more.'$statement$,
$statement$revoke all on function public.record_rendition(text, text, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function public.record_rendition(text, text, jsonb) to service_role$statement$,
$statement$create function public.report_missing(p_key text, p_path text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_generation_key text;
    v_is_original boolean;
begin
    select e.generation_key, e.is_original
    into v_generation_key, v_is_original
    from copperplate.cache_entries as e
    where e.key = p_key and e.path = p_path;
    if not found then
        return false;
    end if;

    -- Generation first, then entries: the one lock order.
    perform from public.generation_status as g where g.prompt_hash = v_generation_key for update;
    -- Whoever held the lock may have reopened it, and a third may have made it anew.
    if not exists (select from copperplate.cache_entries as e where e.key = p_key and e.path = p_path) then
        return false;
    end if;

    if v_is_original then
        -- Reopened at once the first time; a store that keeps losing pictures must not cost more.
        update public.generation_status as g
        set
            status = 'failed', phase = null, error_class = 'missing_object',
            error_message = 'the stored original is gone or altered', format = null, generated_url = null,
            retry_at = case when g.attempt < 2 then v_now else g.window_started_at + interval '1 day' end,
            completed_at = null, updated_at = v_now
        where g.prompt_hash = v_generation_key and g.status = 'completed';
        delete from copperplate.cache_entries as e where e.generation_key = v_generation_key;
    else
        delete from copperplate.cache_entries as e where e.key = p_key and e.path = p_path;
    end if;
    return true;
end;
$$$statement$,
$statement$comment on function public.report_missing(text, text) is
'The object of this entry is gone or altered: drop the entry; for an original, reopen the generation.'$statement$,
$statement$revoke all on function public.report_missing(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.report_missing(text, text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000700', 'create_usage_rollups', array[
$statement$-- Counting. Hits write nothing by themselves: processes add up and flush now and then.

create table copperplate.usage_rollups (
    day date not null,
    kind text not null,
    provider text not null,
    model text not null,
    outcome text not null,
    tier text not null,
    requests bigint not null default 0,
    bytes bigint not null default 0,
    -- Requests by time to answer, bounds 1 2 5 10 25 50 100 250 1000 5000 15000 30000 ms and above.
    latency bigint[] not null,
    constraint usage_rollups_pkey primary key (day, kind, provider, model, outcome, tier),
    constraint usage_rollups_outcome_is_known check (
        outcome in ('hit', 'stale', 'coalesced', 'generated', 'failed')
    )
)$statement$,
$statement$comment on table copperplate.usage_rollups is
'Requests by day (UTC), kind, provider, model, outcome and tier. Money is in copperplate.submits.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.usage_rollups enable row level security$statement$,
$statement$revoke all on table copperplate.usage_rollups from public, anon, authenticated$statement$,
$statement$grant select, insert, update, delete on table copperplate.usage_rollups to service_role$statement$,
$statement$create function copperplate.add_histograms(p_left bigint[], p_right bigint[])
returns bigint[]
language sql
immutable
security invoker
set search_path = ''
as $$
    select array_agg(coalesce(t.l, 0) + coalesce(t.r, 0) order by t.n)
    from unnest(p_left, p_right) with ordinality as t (l, r, n);
$$$statement$,
$statement$comment on function copperplate.add_histograms(bigint[], bigint[]) is 'Adds two histograms bucket by bucket.'$statement$,
$statement$revoke all on function copperplate.add_histograms(bigint[], bigint[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.add_histograms(bigint[], bigint[]) to service_role$statement$,
$statement$create function copperplate.fold_totals()
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    with gone as (
        delete from copperplate.public_totals as t
        where t.ctid = any(array(
            select u.ctid from copperplate.public_totals as u limit 5000 for update skip locked
        ))
        returning t.*
    )
    insert into copperplate.public_totals (
        day, kind, requests, api_calls, hits, misses, saved, failures, completed, accesses, images, image_bytes,
        stored_bytes
    )
    select
        g.day, g.kind, sum(g.requests), sum(g.api_calls), sum(g.hits), sum(g.misses), sum(g.saved), sum(g.failures),
        sum(g.completed), sum(g.accesses), sum(g.images), sum(g.image_bytes), sum(g.stored_bytes)
    from gone as g
    group by g.day, g.kind;
end;
$$$statement$,
$statement$comment on function copperplate.fold_totals() is
'Merges the public totals into one row a day and kind; concurrent calls split the work.'$statement$,
$statement$revoke all on function copperplate.fold_totals() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.fold_totals() to service_role$statement$
]);

select pg_temp.apply_migration('20261120000710', 'create_usage_batches', array[
$statement$-- Batches of counts that were taken, so that one that is sent again changes nothing. A process sends a batch for an
-- hour at most (usage.py), and its id is kept for two.
create table copperplate.usage_batches (
    id uuid not null,
    recorded_at timestamptz not null,
    constraint usage_batches_pkey primary key (id)
)$statement$,
$statement$create index usage_batches_recorded_idx on copperplate.usage_batches (recorded_at)$statement$,
$statement$comment on table copperplate.usage_batches is
'Batches of counts taken within the last two hours. Row-level security is on without a policy.'$statement$,
$statement$alter table copperplate.usage_batches enable row level security$statement$,
$statement$revoke all on table copperplate.usage_batches from public, anon, authenticated, service_role$statement$,
$statement$-- To lock a row takes the right to update it.
grant select, insert, update, delete on table copperplate.usage_batches to service_role$statement$,
$statement$create function copperplate.forget_old_batches(p_limit integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    delete from copperplate.usage_batches as b
    where b.id = any(array(
        select o.id
        from copperplate.usage_batches as o
        where o.recorded_at < copperplate.clock() - interval '2 hours'
        order by o.recorded_at
        limit p_limit
        for update skip locked
    ));
end;
$$$statement$,
$statement$comment on function copperplate.forget_old_batches(integer) is
'Forget ids of batches that nobody sends any more, at most p_limit.'$statement$,
$statement$revoke all on function copperplate.forget_old_batches(integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.forget_old_batches(integer) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000720', 'create_usage_recording', array[
$statement$-- One line of a batch: how often a picture was served or not, with one outcome, from one tier.
create type copperplate.use as (
    generation_key text,
    rendition_key text,
    -- In which it was served.
    format text,
    kind text,
    provider text,
    model text,
    outcome text,
    tier text,
    count bigint,
    size_bytes bigint,
    latency_buckets bigint array
)$statement$,
$statement$comment on type copperplate.use is 'One line of a batch that record_usage adds.'$statement$,
$statement$revoke all on type copperplate.use from public$statement$,
$statement$grant usage on type copperplate.use to service_role$statement$,
$statement$create function copperplate.count_served(p_uses copperplate.use[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- Rows in key order, generations before entries: two flushes never wait for each other in a ring.
    with locked as materialized (
        select g.prompt_hash, s.requests
        from (
            select u.generation_key as key, sum(u.count) as requests
            from unnest(p_uses) as u
            group by u.generation_key
        ) as s
        inner join public.generation_status as g on s.key = g.prompt_hash
        order by g.prompt_hash
        for no key update of g
    )

    update public.generation_status as g
    set total_requests = g.total_requests + l.requests
    from locked as l
    where g.prompt_hash = l.prompt_hash;

    -- Totals add up what rows were counted on, and nothing else: they are the sums of entries, always.
    with served as (
        select
            coalesce(
                (
                    select r.key
                    from copperplate.cache_entries as r
                    inner join copperplate.kinds as k on r.kind = k.name
                    -- Where people are shown the original, every form is a use of it.
                    where r.key = u.rendition_key and not k.is_own_original
                ),
                -- A form that is not kept keeps its picture fresh all the same.
                (
                    select s.key
                    from copperplate.cache_entries as s
                    where s.generation_key = u.generation_key and (s.is_shown or s.is_original)
                    order by s.is_shown desc, s.format is not distinct from u.format desc, s.created_at, s.key
                    limit 1
                )
            ) as key,
            sum(u.count) as served
        from unnest(p_uses) as u
        where u.outcome <> 'failed'
        group by 1
    ),

    counted as (
        update copperplate.cache_entries as e
        set access_count = e.access_count + s.served, last_accessed_at = copperplate.clock()
        from served as s
        where e.key = s.key
        returning e.kind, s.served
    )

    insert into copperplate.public_totals (day, kind, accesses)
    select
        (copperplate.clock() at time zone 'UTC')::date,
        c.kind,
        sum(c.served)
    from counted as c
    group by c.kind;
end;
$$$statement$,
$statement$comment on function copperplate.count_served(copperplate.use[]) is
'Count these uses on the rows of their generations and entries, and in the sums of entries. A use of a form that is not
kept counts on the form of its format that people are shown, else on another that they are, else on the original.'$statement$,
$statement$revoke all on function copperplate.count_served(copperplate.use[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.count_served(copperplate.use[]) to service_role$statement$,
$statement$create function copperplate.note_saved(p_uses copperplate.use[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_keys text[];
    v_counts bigint[];
begin
    select array_agg(s.key), array_agg(s.count)
    into v_keys, v_counts
    from (
        select u.generation_key as key, sum(u.count)::bigint as count
        from unnest(p_uses) as u
        where u.outcome in ('hit', 'stale', 'coalesced')
        group by u.generation_key
    ) as s;
    -- The triggers run for an update of no row, too.
    if v_keys is null then
        return;
    end if;

    -- A picture was made by the newest submit of its generation. Locked in one order: where the generation is gone,
    -- nothing else keeps two of these apart.
    with newest as materialized (
        select s.id, k.count
        from unnest(v_keys, v_counts) as k (key, count)
        cross join lateral (
            select max(n.id) as id from copperplate.submits as n where n.generation_key = k.key
        ) as m
        inner join copperplate.submits as s on m.id = s.id
        order by s.id
        for no key update of s
    )

    update copperplate.submits as s
    set saved = s.saved + n.count
    from newest as n
    where s.id = n.id;
end;
$$$statement$,
$statement$comment on function copperplate.note_saved(copperplate.use[]) is
'Write into the book how often pictures were served without a call.'$statement$,
$statement$revoke all on function copperplate.note_saved(copperplate.use[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_saved(copperplate.use[]) to service_role$statement$,
$statement$create function copperplate.add_rollups(p_uses copperplate.use[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_today date := (copperplate.clock() at time zone 'UTC')::date;
begin
    insert into copperplate.usage_rollups as r (day, kind, provider, model, outcome, tier, requests, bytes, latency)
    select
        v_today, u.kind, u.provider, u.model, u.outcome, u.tier, sum(u.count), sum(u.size_bytes),
        (
            select array_agg(b.total order by b.n)
            from (
                select h.n, sum(h.count)::bigint as total
                from unnest(p_uses) as w
                cross join lateral unnest(w.latency_buckets) with ordinality as h (count, n)
                where (w.kind, w.provider, w.model, w.outcome, w.tier) = (u.kind, u.provider, u.model, u.outcome, u.tier)
                group by h.n
            ) as b
        )
    from unnest(p_uses) as u
    group by u.kind, u.provider, u.model, u.outcome, u.tier
    order by u.kind, u.provider, u.model, u.outcome, u.tier
    on conflict on constraint usage_rollups_pkey do update
    set
        requests = r.requests + excluded.requests,
        bytes = r.bytes + excluded.bytes,
        latency = copperplate.add_histograms(r.latency, excluded.latency);

    insert into copperplate.public_totals (day, kind, requests, hits, misses, saved)
    select
        v_today,
        u.kind,
        sum(u.count),
        coalesce(sum(u.count) filter (where u.outcome in ('hit', 'stale')), 0),
        coalesce(sum(u.count) filter (where u.outcome in ('generated', 'coalesced')), 0),
        coalesce(sum(u.count) filter (where u.outcome in ('hit', 'stale', 'coalesced')), 0)
    from unnest(p_uses) as u
    group by u.kind;
end;
$$$statement$,
$statement$comment on function copperplate.add_rollups(copperplate.use[]) is 'Add these uses to the sums of today.'$statement$,
$statement$revoke all on function copperplate.add_rollups(copperplate.use[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.add_rollups(copperplate.use[]) to service_role$statement$,
$statement$create function public.record_usage(p_uses jsonb, p_batch uuid)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
-- Planned anew for every batch, its statements would cost as much again.
set plan_cache_mode = force_generic_plan
-- Below deadlock_timeout: where a person's DELETE locks in another order, counting gives way and is sent again.
set lock_timeout = '500ms'
as $$
declare
    v_uses copperplate.use[];
begin
    -- A repeat that comes while the first is under way waits here for its end.
    insert into copperplate.usage_batches (id, recorded_at)
    values (p_batch, copperplate.clock())
    on conflict (id) do nothing;
    if not found then
        return public.is_work_due();
    end if;

    v_uses := array(select u from jsonb_populate_recordset(null::copperplate.use, p_uses) as u);
    perform copperplate.count_served(v_uses);
    perform copperplate.note_saved(v_uses);
    perform copperplate.add_rollups(v_uses);

    if random() < 0.02 then
        perform copperplate.fold_totals();
        perform copperplate.fold_money();
        perform copperplate.forget_old_batches(1000);
        perform copperplate.forget_invalidations(1000);
    end if;
    return public.is_work_due();
end;
$$$statement$,
$statement$comment on function public.record_usage(jsonb, uuid) is
'Add a batch of counts, [{generation_key, rendition_key, format, kind, provider, model, outcome, tier, count,
size_bytes, latency_buckets}], once: sent again under the same id within two hours, it changes nothing. Answers whether
a wish is due.'$statement$,
$statement$revoke all on function public.record_usage(jsonb, uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function public.record_usage(jsonb, uuid) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000730', 'create_statistics', array[
$statement$-- Sums that people and operators read.

create function public.get_generation_stats()
returns table (
    total_requests bigint,
    total_api_calls_made bigint,
    total_api_calls_saved bigint,
    total_completed bigint,
    total_failed bigint,
    total_hits bigint,
    total_misses bigint,
    efficiency_percent numeric,
    requests_today bigint,
    api_calls_made_today bigint,
    api_calls_saved_today bigint,
    completed_today bigint,
    failed_today bigint,
    hits_today bigint,
    misses_today bigint
)
language sql
volatile
security invoker
set search_path = ''
as $$
    with today as (
        select (copperplate.clock() at time zone 'UTC')::date as day
    ),

    sums as (
        select
            coalesce(sum(t.requests), 0)::bigint as requests,
            coalesce(sum(t.api_calls), 0)::bigint as api_calls,
            coalesce(sum(t.completed), 0)::bigint as completed,
            coalesce(sum(t.failures), 0)::bigint as failures,
            coalesce(sum(t.hits), 0)::bigint as hits,
            coalesce(sum(t.misses), 0)::bigint as misses,
            coalesce(sum(t.saved), 0)::bigint as saved,
            coalesce(sum(t.requests) filter (where t.day = d.day), 0)::bigint as requests_today,
            coalesce(sum(t.api_calls) filter (where t.day = d.day), 0)::bigint as api_calls_today,
            coalesce(sum(t.completed) filter (where t.day = d.day), 0)::bigint as completed_today,
            coalesce(sum(t.failures) filter (where t.day = d.day), 0)::bigint as failures_today,
            coalesce(sum(t.hits) filter (where t.day = d.day), 0)::bigint as hits_today,
            coalesce(sum(t.misses) filter (where t.day = d.day), 0)::bigint as misses_today,
            coalesce(sum(t.saved) filter (where t.day = d.day), 0)::bigint as saved_today
        from today as d
        left join copperplate.public_totals as t on true
    )

    select
        s.requests, s.api_calls, s.saved, s.completed, s.failures, s.hits, s.misses,
        round(100.0 * s.saved / nullif(s.hits + s.misses, 0), 1),
        s.requests_today, s.api_calls_today, s.saved_today, s.completed_today, s.failures_today, s.hits_today,
        s.misses_today
    from sums as s;
$$$statement$,
$statement$comment on function public.get_generation_stats() is
'One row: requests, provider calls made and saved, since the beginning and today (UTC).
Saved are the pictures served without a call: hits, and what was shared with the caller who made it. A failed request
saves nothing. efficiency_percent is what was saved of all pictures served.'$statement$,
$statement$revoke all on function public.get_generation_stats() from public, anon, authenticated$statement$,
$statement$grant execute on function public.get_generation_stats() to service_role, anon, authenticated$statement$,
$statement$create function public.get_savings()
returns table (
    kind text,
    served bigint,
    saved bigint,
    efficiency_percent numeric,
    spent_micro_usd bigint,
    saved_micro_usd bigint,
    estimated bigint,
    unpriced bigint,
    unpriced_saved bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select
        k.name,
        t.served::bigint,
        t.saved::bigint,
        round(100.0 * t.saved / nullif(t.served, 0), 1),
        m.spent_micro_usd::bigint,
        m.saved_micro_usd::bigint,
        m.estimated::bigint,
        m.unpriced::bigint,
        m.unpriced_saved::bigint
    from copperplate.kinds as k
    cross join lateral (
        select
            coalesce(sum(p.hits + p.misses), 0) as served,
            coalesce(sum(p.saved), 0) as saved
        from copperplate.public_totals as p
        where p.kind = k.name
    ) as t
    cross join lateral (
        select
            coalesce(sum(o.spent_micro_usd), 0) as spent_micro_usd,
            coalesce(sum(o.saved_micro_usd), 0) as saved_micro_usd,
            coalesce(sum(o.estimated), 0) as estimated,
            coalesce(sum(o.unpriced), 0) as unpriced,
            coalesce(sum(o.unpriced_saved), 0) as unpriced_saved
        from copperplate.money_totals as o
        where o.kind = k.name
    ) as m
    order by k.name;
$$$statement$,
$statement$comment on function public.get_savings() is
'A row for each kind of picture: pictures served, and saved, those of them that cost no call; what was spent, and what
the saved ones would have cost at the price each was made for, in millionths of a dollar. estimated submits count with
their estimate; unpriced submits, and unpriced_saved pictures, have no known price and are in no sum.'$statement$,
$statement$revoke all on function public.get_savings() from public, anon, authenticated$statement$,
$statement$grant execute on function public.get_savings() to service_role$statement$
]);

select pg_temp.apply_migration('20261120000740', 'create_kind_stats', array[
$statement$-- Statistics of one kind.

create function copperplate.sum_totals(p_kind text)
returns table (
    pictures bigint,
    accesses bigint,
    avg_accesses numeric,
    size_bytes bigint,
    stored_bytes bigint,
    hits bigint,
    misses bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select
        coalesce(sum(t.images), 0)::bigint,
        coalesce(sum(t.accesses), 0)::bigint,
        round(coalesce(sum(t.accesses), 0) / nullif(sum(t.images), 0), 2),
        coalesce(sum(t.image_bytes), 0)::bigint,
        coalesce(sum(t.stored_bytes), 0)::bigint,
        coalesce(sum(t.hits), 0)::bigint,
        coalesce(sum(t.misses), 0)::bigint
    from copperplate.public_totals as t
    where t.kind = p_kind;
$$$statement$,
$statement$comment on function copperplate.sum_totals(text) is
'One row: the public totals of a kind, which anyone may read. stored_bytes include originals that are not shown.'$statement$,
$statement$revoke all on function copperplate.sum_totals(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.sum_totals(text) to service_role, anon, authenticated$statement$,
$statement$create function public.get_kind_stats(p_kind text)
returns table (
    pictures bigint,
    accesses bigint,
    avg_accesses numeric,
    size_bytes bigint,
    stored_bytes bigint,
    hits bigint,
    misses bigint,
    efficiency_percent numeric,
    spent_micro_usd bigint,
    saved_micro_usd bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select t.*, s.efficiency_percent, s.spent_micro_usd, s.saved_micro_usd
    from public.get_savings() as s
    cross join copperplate.sum_totals(s.kind) as t
    where s.kind = p_kind;
$$$statement$,
$statement$comment on function public.get_kind_stats(text) is
'One row: pictures of a kind that are kept, how often they were used, hits, misses, and money spent and saved in
millionths of a dollar. No row for an unknown kind.'$statement$,
$statement$revoke all on function public.get_kind_stats(text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.get_kind_stats(text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000745', 'create_tier_reports', array[
$statement$-- What processes keep in their tiers, as each of them reported last. It is for people: nothing is decided by it.
create table copperplate.tier_reports (
    tier text not null,
    -- A process; or the folder or server that processes share, of which each reports the same.
    holder text not null,
    entries bigint not null,
    bytes bigint not null,
    -- Null: empty, or not known.
    oldest_at timestamptz,
    reported_at timestamptz not null default copperplate.clock(),
    constraint tier_reports_pkey primary key (tier, holder),
    constraint tier_reports_tier_is_known check (tier in ('memory', 'disk', 'redis')),
    constraint tier_reports_holder_is_an_id check (holder ~ '^[0-9a-f-]{16,64}$'),
    constraint tier_reports_counted check (entries >= 0 and bytes >= 0)
)$statement$,
$statement$comment on table copperplate.tier_reports is
'What is in the tiers of each process, and in those that processes share, as reported in the last five minutes.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.tier_reports enable row level security$statement$,
$statement$revoke all on table copperplate.tier_reports from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.tier_reports to service_role$statement$,
$statement$create function public.report_tiers(p_process uuid, p_tiers jsonb)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
-- Processes that share a folder write the same row. Who would wait for another has nothing new to say, and passes it
-- over; only for a row that is new to both it waits so long.
set lock_timeout = '500ms'
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_noted integer;
begin
    with reported as materialized (
        select
            r.tier,
            coalesce(nullif(r.place, ''), p_process::text) as holder,
            r.entries,
            r.bytes,
            v_now - make_interval(secs => r.oldest_seconds) as oldest_at
        from jsonb_to_recordset(p_tiers) as r (
            tier text, place text, entries bigint, bytes bigint, oldest_seconds double precision
        )
    ),

    free as materialized (
        select
            t.tier,
            t.holder
        from copperplate.tier_reports as t
        inner join reported as r on t.tier = r.tier and t.holder = r.holder
        for update of t skip locked
    ),

    updated as (
        update copperplate.tier_reports as t
        set
            entries = r.entries,
            bytes = r.bytes,
            oldest_at = r.oldest_at,
            reported_at = v_now
        from free as f
        inner join reported as r on f.tier = r.tier and f.holder = r.holder
        where t.tier = f.tier and t.holder = f.holder
        returning 1
    ),

    inserted as (
        insert into copperplate.tier_reports (tier, holder, entries, bytes, oldest_at, reported_at)
        select
            r.tier,
            r.holder,
            r.entries,
            r.bytes,
            r.oldest_at,
            v_now
        from reported as r
        -- On conflict alone it would wait for the row that another updates.
        where not exists (
            select from copperplate.tier_reports as t where t.tier = r.tier and t.holder = r.holder
        )
        -- In one order: two reports never wait for each other in a ring.
        order by 1, 2
        on conflict on constraint tier_reports_pkey do nothing
        returning 1
    )

    select (select count(*) from updated) + (select count(*) from inserted) into v_noted;

    delete from copperplate.tier_reports as t
    where (t.tier, t.holder) in (
        select o.tier, o.holder
        from copperplate.tier_reports as o
        where o.reported_at <= v_now - interval '5 minutes'
        limit 1000
        for update skip locked
    );
    return v_noted;
end;
$$$statement$,
$statement$comment on function public.report_tiers(uuid, jsonb) is
'Note what is in the tiers of a process, [{tier, place, entries, bytes, oldest_seconds}], in place of its last report;
place names a folder or server that processes share. Reports older than five minutes go. Answers how many
were noted: not what another process is reporting.'$statement$,
$statement$revoke all on function public.report_tiers(uuid, jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function public.report_tiers(uuid, jsonb) to service_role$statement$,
$statement$create function public.read_tiers()
returns table (
    tier text,
    places bigint,
    entries bigint,
    bytes bigint,
    oldest_seconds double precision,
    hits_today bigint,
    served_bytes_today bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    with kept as (
        select
            r.tier,
            count(*) as places,
            sum(r.entries) as entries,
            sum(r.bytes) as bytes,
            extract(epoch from copperplate.clock() - min(r.oldest_at)) as oldest_seconds
        from copperplate.tier_reports as r
        where r.reported_at > copperplate.clock() - interval '5 minutes'
        group by r.tier
        union all
        select 'storage', 0, coalesce(sum(t.images), 0), coalesce(sum(t.stored_bytes), 0), null
        from copperplate.public_totals as t
    ),

    hits as (
        select u.tier, sum(u.requests) as requests, sum(u.bytes) as bytes
        from copperplate.usage_rollups as u
        where
            u.day = (copperplate.clock() at time zone 'UTC')::date
            and u.outcome in ('hit', 'stale')
        group by u.tier
    )

    select
        n.tier,
        coalesce(k.places, 0)::bigint,
        coalesce(k.entries, 0)::bigint,
        coalesce(k.bytes, 0)::bigint,
        k.oldest_seconds::double precision,
        coalesce(h.requests, 0)::bigint,
        coalesce(h.bytes, 0)::bigint
    from unnest(array['memory', 'disk', 'redis', 'storage']) with ordinality as n (tier, place)
    left join kept as k on n.tier = k.tier
    left join hits as h on n.tier = h.tier
    order by n.place;
$$$statement$,
$statement$comment on function public.read_tiers() is
'A row for memory, disk, redis and storage: the processes, folders or servers that reported in the last five minutes,
their entries and bytes, the age of the oldest, and hits and bytes served from there today (UTC). Of storage: pictures
kept, and all bytes.'$statement$,
$statement$revoke all on function public.read_tiers() from public, anon, authenticated$statement$,
$statement$grant execute on function public.read_tiers() to service_role$statement$
]);

select pg_temp.apply_migration('20261120000800', 'create_sweep', array[
$statement$-- What leaders left behind. Nothing here is needed for correctness; all of it is bounded, and any number of callers may
-- run it at once.

create function public.sweep_generations(
    p_limit integer default 20, p_horizon interval default '10 minutes'
)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_swept integer;
    v_reserved jsonb[];
begin
    -- Nobody has asked since the leader died, or a follower would have taken over. What is known of
    -- its job is kept: the next one to ask collects it.
    with expired as (
        select g.prompt_hash, g.reserved
        from public.generation_status as g
        where g.status in ('pending', 'generating') and g.lease_until < copperplate.clock() - p_horizon
        limit p_limit
        for update skip locked
    ),

    swept as (
        update public.generation_status as g
        set
            status = 'failed', error_class = 'abandoned', error_message = 'the leader died and nobody asked again',
            retry_at = copperplate.clock(), leader = null, lease_until = null, reserved = null,
            updated_at = copperplate.clock()
        from expired as e
        where g.prompt_hash = e.prompt_hash
        returning e.reserved
    )

    select count(*), array_agg(s.reserved) filter (where s.reserved is not null)
    into v_swept, v_reserved
    from swept as s;

    perform copperplate.release_expired(p_limit);
    -- Small, and one or more for each request of a signed-in person: a caller that sweeps once a day is to keep up.
    perform copperplate.forget_old_requests(20 * p_limit);
    perform copperplate.forget_old_batches(20 * p_limit);
    perform copperplate.forget_old_wishes(20 * p_limit);
    perform copperplate.forget_old_cdn_purges(20 * p_limit);
    perform copperplate.fold_totals();
    perform copperplate.fold_money();
    -- Late, as elections wait for these counters; before older days are folded, for the order of locks.
    perform copperplate.release_all_spending(v_reserved);
    perform copperplate.fold_budgets(p_limit);
    return v_swept;
end;
$$$statement$,
$statement$comment on function public.sweep_generations(integer, interval) is
'Fail generations whose lease ran out longer than p_horizon ago; at most p_limit; answers how many. Beside it, credits
held for generations that nobody works on are released, and old requests, wishes, ids of batches and CDN purges
forgotten, twenty times as many.'$statement$,
$statement$revoke all on function public.sweep_generations(integer, interval) from public, anon, authenticated$statement$,
$statement$grant execute on function public.sweep_generations(integer, interval) to service_role$statement$,
$statement$create function public.cleanup_old_generation_status(p_limit integer default 1000)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_removed bigint;
begin
    -- Failures stay for the day in which their attempts are counted. A completed generation always has
    -- entries and goes with the last of them.
    with done as (
        select g.prompt_hash
        from public.generation_status as g
        where
            g.status = 'failed' and g.retry_at < copperplate.clock()
            and g.window_started_at < copperplate.clock() - interval '1 day'
            -- A paid job stays known for as long as its result may be kept, a day at most (docs/states.md).
            and (g.noted_at is null or g.noted_at < copperplate.clock() - interval '1 day')
            and g.pinned_at is null
        limit p_limit
        for update skip locked
    )

    delete from public.generation_status as g
    using done as d
    where g.prompt_hash = d.prompt_hash;
    get diagnostics v_removed = row_count;
    return jsonb_build_object('generations', v_removed);
end;
$$$statement$,
$statement$comment on function public.cleanup_old_generation_status(integer) is
'Remove failures whose day is over; at most p_limit; answers counts.'$statement$,
$statement$revoke all on function public.cleanup_old_generation_status(integer) from public, anon, authenticated$statement$,
$statement$grant execute on function public.cleanup_old_generation_status(integer) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000810', 'create_cleanup', array[
$statement$-- Entries that are too old, by the rules of their kind. Bounded, and any number of callers may clean at once.

create function copperplate.archive_entries(p_rules copperplate.kinds, p_limit integer)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_archived bigint;
begin
    if p_rules.archive_above is null then
        return 0;
    end if;
    with much_used as (
        select e.key
        from copperplate.cache_entries as e
        where
            e.kind = p_rules.name and e.is_original = p_rules.is_own_original
            and e.archived_at is null and e.access_count > p_rules.archive_above
        limit p_limit
        for update skip locked
    )

    update copperplate.cache_entries as e
    set archived_at = copperplate.clock()
    from much_used as m
    where e.key = m.key;
    get diagnostics v_archived = row_count;
    return v_archived;
end;
$$$statement$,
$statement$comment on function copperplate.archive_entries(copperplate.kinds, integer) is
'Archive at most p_limit entries that are used more than the rules ask for; answers how many.'$statement$,
$statement$revoke all on function copperplate.archive_entries(copperplate.kinds, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.archive_entries(copperplate.kinds, integer) to service_role$statement$,
$statement$-- A place is the time and the key of an entry.
create function copperplate.lock_old_generations(
    p_rules copperplate.kinds,
    p_cutoff timestamptz,
    p_after text,
    p_limit integer,
    out keys text[],
    out reached text
)
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_after timestamptz := coalesce(nullif(split_part(p_after, ' ', 1), '')::timestamptz, '-infinity');
    v_after_key text := coalesce(split_part(p_after, ' ', 2), '');
begin
    -- Old entries that stay come before the oldest that go: a caller that began anew with each call would look at all
    -- of them again and again.
    if p_after is not null then
        reached := (
            select (to_jsonb(e.created_at) #>> '{}') || ' ' || e.key
            from copperplate.cache_entries as e
            where
                e.kind = p_rules.name and e.archived_at is null
                and e.created_at < p_cutoff and (e.created_at, e.key) > (v_after, v_after_key)
            order by e.created_at, e.key
            offset p_limit - 1
            limit 1
        );
    end if;

    -- The step that picks the generations locks them: another cleanup takes other rows, and what somebody works on is
    -- left alone. Originals without renditions age by themselves.
    keys := array(
        select g.prompt_hash
        from (
            select c.*
            from copperplate.cache_entries as c
            where
                c.kind = p_rules.name and c.archived_at is null
                and c.created_at < p_cutoff and (c.created_at, c.key) > (v_after, v_after_key)
            order by c.created_at, c.key
            limit case when p_after is not null then p_limit end
        ) as e
        inner join public.generation_status as g on e.generation_key = g.prompt_hash
        where
            g.pinned_at is null
            and (e.access_count < p_rules.min_uses or (p_rules.min_uses is null and e.last_accessed_at < p_cutoff))
            -- A kind that shows its originals counts uses on them, and their renditions go with them.
            and (e.is_original or not p_rules.is_own_original)
            and (
                not e.is_original
                -- Not "not exists": the planner would hash every rendition there is before the first row.
                or (
                    select r.key
                    from copperplate.cache_entries as r
                    where r.generation_key = e.generation_key and not r.is_original and not p_rules.is_own_original
                    limit 1
                ) is null
            )
        order by e.created_at
        limit p_limit
        for update of g skip locked
    );
end;
$$$statement$,
$statement$comment on function copperplate.lock_old_generations(copperplate.kinds, timestamptz, text, integer) is
'Lock at most p_limit generations that have an old entry, the oldest first; answers their keys. With p_after, p_limit
entries from that place on are looked at, and reached is where the next call goes on, null at the end.'$statement$,
$statement$revoke all on function copperplate.lock_old_generations(copperplate.kinds, timestamptz, text, integer)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.lock_old_generations(copperplate.kinds, timestamptz, text, integer)
to service_role$statement$,
$statement$create function copperplate.remove_old_entries(p_rules copperplate.kinds, p_cutoff timestamptz, p_keys text[])
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_shown bigint := (select count(*) from copperplate.shown_entries as e where e.generation_key = any(p_keys));
    v_bytes bigint;
    v_generations bigint;
begin
    -- What is old is not wrong: its copies in CDNs may stay.
    perform copperplate.set_aging(true);
    with removed as (
        delete from copperplate.cache_entries as e
        where
            e.generation_key = any(p_keys) and not e.is_original
            and e.archived_at is null and e.created_at < p_cutoff
            and (e.access_count < p_rules.min_uses or (p_rules.min_uses is null and e.last_accessed_at < p_cutoff))
        returning e.file_size
    )

    select coalesce(sum(r.file_size), 0) into v_bytes from removed as r;

    -- An original outlives its renditions: it goes with the last of them, and the generation with it.
    with bare as (
        select
            o.generation_key,
            (
                select sum(e.file_size)
                from copperplate.cache_entries as e
                where e.generation_key = o.generation_key
            ) as file_size
        from copperplate.cache_entries as o
        where
            o.generation_key = any(p_keys) and o.is_original
            and o.archived_at is null and o.created_at < p_cutoff
            and (o.access_count < p_rules.min_uses or (p_rules.min_uses is null and o.last_accessed_at < p_cutoff))
            and (
                p_rules.is_own_original
                -- As above, not "not exists".
                or (
                    select r.key
                    from copperplate.cache_entries as r
                    where r.generation_key = o.generation_key and not r.is_original
                    limit 1
                ) is null
            )
    ),

    removed as (
        delete from public.generation_status as g
        using bare as b
        where g.prompt_hash = b.generation_key
        returning b.file_size
    )

    select count(*), v_bytes + coalesce(sum(r.file_size), 0) into v_generations, v_bytes from removed as r;
    perform copperplate.set_aging(false);

    return jsonb_build_object(
        -- As people are shown them: where another form is shown now, the picture is still there.
        'pictures', v_shown - (
            select count(*)
            from copperplate.shown_entries as e
            where e.generation_key = any(p_keys)
        ),
        'generations', v_generations,
        'bytes', v_bytes
    );
end;
$$$statement$,
$statement$comment on function copperplate.remove_old_entries(copperplate.kinds, timestamptz, text[]) is
'Remove the old entries of these generations, and those generations of which nothing is left; answers counts.'$statement$,
$statement$revoke all on function copperplate.remove_old_entries(copperplate.kinds, timestamptz, text[])
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.remove_old_entries(copperplate.kinds, timestamptz, text[]) to service_role$statement$,
$statement$create function public.cleanup_entries(
    p_kind text,
    p_limit integer default 1000,
    p_after text default null,
    p_older_than interval default null,
    p_min_uses bigint default null,
    p_archive_above bigint default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_rules copperplate.kinds := copperplate.rules_of(p_kind, p_older_than, p_min_uses, p_archive_above);
    v_cutoff timestamptz := copperplate.clock() - v_rules.retention;
    v_archived bigint;
    v_keys text[];
    v_reached text;
    v_forgotten bigint := 0;
    v_answer jsonb;
begin
    -- First: what is archived is kept for good, whatever else is asked.
    v_archived := copperplate.archive_entries(v_rules, p_limit);
    select l.keys, l.reached
    into v_keys, v_reached
    from copperplate.lock_old_generations(v_rules, v_cutoff, p_after, p_limit) as l;
    v_answer := copperplate.remove_old_entries(v_rules, v_cutoff, v_keys)
        || jsonb_build_object('archived', v_archived);
    if p_kind = 'processed' then
        v_forgotten := copperplate.forget_old_sources(v_cutoff, p_limit);
    end if;
    perform copperplate.forget_invalidations(p_limit);
    if p_after is null then
        return v_answer;
    end if;
    -- While there is more to archive or to forget, the end is not the end: the last page is looked at again.
    return v_answer || jsonb_build_object(
        'reached', coalesce(v_reached, case when p_limit in (v_archived, v_forgotten) then p_after end)
    );
end;
$$$statement$,
$statement$comment on function public.cleanup_entries(text, integer, text, interval, bigint, bigint) is
'Archive what is much used of a kind and remove what is old, by the rules in copperplate.kinds or those given; at most
p_limit of each a call; answers pictures (as people are shown them), generations, bytes (of all forms), archived. Call
it again while it answers more than zero.
With p_after, empty at first, it looks at p_limit entries from there on and answers where it has come to as reached,
null at the end.'$statement$,
$statement$revoke all on function public.cleanup_entries(text, integer, text, interval, bigint, bigint)
from public, anon, authenticated$statement$,
$statement$grant execute on function public.cleanup_entries(text, integer, text, interval, bigint, bigint) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000815', 'create_cleanup_counts', array[
$statement$-- What a cleanup would do.

create function public.count_old_entries(
    p_kind text,
    p_older_than interval default null,
    p_min_uses bigint default null,
    p_archive_above bigint default null
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_rules copperplate.kinds := copperplate.rules_of(p_kind, p_older_than, p_min_uses, p_archive_above);
    v_cutoff timestamptz := copperplate.clock() - v_rules.retention;
    v_archived bigint := 0;
    v_answer jsonb;
begin
    if v_rules.archive_above is not null then
        select count(*)
        into v_archived
        from copperplate.cache_entries as e
        where
            e.kind = p_kind and e.is_original = v_rules.is_own_original
            and e.archived_at is null and e.access_count > v_rules.archive_above;
    end if;

    select jsonb_build_object(
        -- As people are shown them: a form that stays is shown in its place.
        'pictures', count(*) filter (
            where e.is_shown and (
                v_rules.is_own_original
                or (
                    select r.key
                    from copperplate.cache_entries as r
                    where
                        r.generation_key = e.generation_key and r.format = e.format and not r.is_original
                        and (
                            r.archived_at is not null or r.created_at >= v_cutoff
                            or r.access_count >= v_rules.min_uses
                            or (v_rules.min_uses is null and r.last_accessed_at >= v_cutoff)
                        )
                    limit 1
                ) is null
            )
        ),
        'generations', count(*) filter (where e.is_original),
        'bytes', coalesce(sum(
            case
                when v_rules.is_own_original then (
                    select sum(r.file_size)
                    from copperplate.cache_entries as r
                    where r.generation_key = e.generation_key
                )
                else e.file_size
            end
        ), 0),
        'archived', v_archived
    )
    into v_answer
    from copperplate.cache_entries as e
    where
        e.kind = p_kind and e.archived_at is null and e.created_at < v_cutoff
        and (e.access_count < v_rules.min_uses or (v_rules.min_uses is null and e.last_accessed_at < v_cutoff))
        and e.generation_key not in (
            select g.prompt_hash from public.generation_status as g
            where g.pinned_at is not null
        )
        -- An original stays while any picture made from it does.
        and case
            when v_rules.is_own_original then e.is_original
            when not e.is_original then true
            -- As in lock_old_generations, not "not exists".
            else (
                select r.key
                from copperplate.cache_entries as r
                where
                    r.generation_key = e.generation_key and not r.is_original
                    and case
                        when v_rules.min_uses is null then r.last_accessed_at >= v_cutoff
                        else r.access_count >= v_rules.min_uses or r.created_at >= v_cutoff
                    end
                limit 1
            ) is null
        end;
    return v_answer;
end;
$$$statement$,
$statement$comment on function public.count_old_entries(text, interval, bigint, bigint) is
'What cleanup_entries would remove and archive by and by, as the same counts; changes nothing.'$statement$,
$statement$revoke all on function public.count_old_entries(text, interval, bigint, bigint) from public, anon, authenticated$statement$,
$statement$grant execute on function public.count_old_entries(text, interval, bigint, bigint) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000820', 'create_purge', array[
$statement$-- Pictures that are declared wrong.

create function copperplate.check_purge(p_conditions text[])
returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if array_remove(p_conditions, null) = '{}' then
        raise exception 'purge_entries needs at least one condition'
            using errcode = 'ZC006', hint = 'Name a key, a prompt, a prefix of the key, a model or an age.';
    elsif '' = any(p_conditions) then
        -- Every key begins with nothing: a variable that was never set must not empty the cache.
        raise exception 'a condition of purge_entries is empty'
            using errcode = 'ZC006', hint = 'Leave it out, or say what it must be.';
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.check_purge(text[]) is
'Raises ZC006 where none of these conditions of a purge is given, or one is empty.'$statement$,
$statement$revoke all on function copperplate.check_purge(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.check_purge(text[]) to service_role$statement$,
$statement$create function copperplate.find_to_purge(
    p_generation_key text,
    p_prompt text,
    p_key_prefix text,
    p_model text,
    p_older_than interval,
    p_limit integer,
    p_with_pinned boolean
)
returns text[]
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    -- People hold the key of a picture: X-Copperplate-Key, prompt_hash in public.image_cache.
    v_generation_key text := (select e.generation_key from copperplate.cache_entries as e where e.key = p_generation_key);
begin
    return array(
        select g.prompt_hash
        from public.generation_status as g
        where
            (p_generation_key is null or g.prompt_hash in (p_generation_key, v_generation_key))
            and (p_prompt is null or g.prompt = copperplate.fold_text(p_prompt))
            and (p_key_prefix is null or starts_with(g.prompt_hash, p_key_prefix))
            and (p_model is null or g.model = p_model)
            and (p_older_than is null or g.created_at < copperplate.clock() - p_older_than)
            -- A filter meets more than its author thinks of; whoever names the key means this picture.
            and (p_with_pinned or p_generation_key is not null or g.pinned_at is null)
        order by g.prompt_hash
        limit p_limit
    );
end;
$$$statement$,
$statement$comment on function copperplate.find_to_purge(text, text, text, text, interval, integer, boolean) is
'The keys of at most p_limit generations that meet every condition given, without the pinned ones that are not meant.'$statement$,
$statement$revoke all on function copperplate.find_to_purge(text, text, text, text, interval, integer, boolean)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.find_to_purge(text, text, text, text, interval, integer, boolean)
to service_role$statement$,
$statement$create function copperplate.count_pinned(p_prompt text, p_key_prefix text, p_model text, p_older_than interval)
returns bigint
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return (
        select count(*)
        from public.generation_status as g
        where
            g.pinned_at is not null
            and (p_prompt is null or g.prompt = copperplate.fold_text(p_prompt))
            and (p_key_prefix is null or starts_with(g.prompt_hash, p_key_prefix))
            and (p_model is null or g.model = p_model)
            and (p_older_than is null or g.created_at < copperplate.clock() - p_older_than)
    );
end;
$$$statement$,
$statement$comment on function copperplate.count_pinned(text, text, text, interval) is
'How many pinned generations meet every condition given.'$statement$,
$statement$revoke all on function copperplate.count_pinned(text, text, text, interval) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.count_pinned(text, text, text, interval) to service_role$statement$,
$statement$create function copperplate.remove_purged(p_keys text[], p_dry_run boolean)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_answer jsonb;
    v_objects jsonb;
begin
    -- Locked before they are looked at: a form that is recorded meanwhile is removed too, and named.
    if not p_dry_run then
        perform from public.generation_status as g
        where g.prompt_hash = any(p_keys)
        order by g.prompt_hash
        for update;
    end if;
    select
        jsonb_build_object(
            'generations', cardinality(p_keys),
            -- What people are shown, which is the original itself of some kinds.
            'images', count(*) filter (where e.is_shown), 'bytes', coalesce(sum(e.file_size), 0)
        ),
        coalesce(jsonb_agg(jsonb_build_array(e.bucket, e.path) order by e.key) filter (where not p_dry_run), '[]')
    into v_answer, v_objects
    from copperplate.cache_entries as e
    where e.generation_key = any(p_keys);
    if p_dry_run then
        return v_answer;
    end if;
    delete from public.generation_status as g where g.prompt_hash = any(p_keys);
    return v_answer || jsonb_build_object('keys', p_keys, 'objects', v_objects);
end;
$$$statement$,
$statement$comment on function copperplate.remove_purged(text[], boolean) is
'Remove these generations; answers counts, their keys and their objects. A dry run only counts.'$statement$,
$statement$revoke all on function copperplate.remove_purged(text[], boolean) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.remove_purged(text[], boolean) to service_role$statement$,
$statement$create function public.purge_entries(
    p_generation_key text default null,
    p_prompt text default null,
    p_key_prefix text default null,
    p_model text default null,
    p_older_than interval default null,
    p_dry_run boolean default true,
    p_limit integer default 1000,
    p_with_pinned boolean default false,
    p_with_children boolean default false
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_keys text[];
    v_pinned bigint := 0;
    v_children text[] := array[]::text[];
    v_pinned_children bigint := 0;
    v_has_more boolean;
begin
    perform copperplate.check_purge(array[p_generation_key, p_prompt, p_key_prefix, p_model, p_older_than::text]);
    v_keys := copperplate.find_to_purge(
        p_generation_key, p_prompt, p_key_prefix, p_model, p_older_than, p_limit, p_with_pinned
    );
    if not p_with_pinned and p_generation_key is null then
        v_pinned := copperplate.count_pinned(p_prompt, p_key_prefix, p_model, p_older_than);
    end if;
    v_has_more := cardinality(v_keys) >= p_limit;
    if p_with_children or p_dry_run then
        select c.keys, case when p_with_children then c.pinned else 0 end
        into v_children, v_pinned_children
        from copperplate.find_children(v_keys, p_with_pinned) as c;
    end if;
    if p_with_children and cardinality(v_children) > p_limit then
        -- The last of a lineage first: what they were made from leads to the rest of them in the next call.
        v_keys := v_children[:p_limit];
        v_pinned_children := 0;
        v_has_more := true;
    elsif p_with_children then
        v_keys := v_keys || v_children;
    end if;
    return copperplate.remove_purged(v_keys, p_dry_run) || jsonb_build_object(
        'dry_run', p_dry_run, 'pinned', v_pinned, 'has_more', v_has_more, 'children', cardinality(v_children),
        'pinned_children', v_pinned_children
    ) || case
        when p_dry_run and p_with_children then jsonb_build_object('tree', copperplate.tree_of(v_children))
        else '{}'::jsonb
    end;
end;
$$$statement$,
$statement$comment on function public.purge_entries(text, text, text, text, interval, boolean, integer, boolean, boolean) is
'Declare pictures wrong: remove the generations that meet every condition given; answers counts, their keys and
their objects. A dry run only counts. Pinned pictures are left, and counted as pinned, unless p_generation_key names one
or p_with_pinned is true. What was made from them stays, and a dry run counts it as children, unless p_with_children is
true; a dry run shows it then as a tree. has_more tells that there is more than one call removes.'$statement$,
$statement$revoke all on function public.purge_entries(text, text, text, text, interval, boolean, integer, boolean, boolean)
from public, anon, authenticated$statement$,
$statement$grant execute on function public.purge_entries(text, text, text, text, interval, boolean, integer, boolean, boolean)
to service_role$statement$
]);

select pg_temp.apply_migration('20261120000821', 'create_purge_of_copies', array[
$statement$-- Copies that are declared wrong in some tiers, while the pictures themselves stay.

create function copperplate.count_copies(p_keys text[])
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'generations', count(distinct e.generation_key) filter (where k.is_public),
        'entries', count(*) filter (where k.is_public),
        'bytes', coalesce(sum(e.file_size) filter (where k.is_public), 0),
        'objects', count(*)
    )
    from copperplate.cache_entries as e
    inner join copperplate.kinds as k on e.kind = k.name
    where p_keys is null or e.generation_key = any(p_keys);
$$$statement$,
$statement$comment on function copperplate.count_copies(text[]) is
'What tiers may have copies of, of these generations or of all: generations, entries and bytes of public kinds, and
objects of every kind.'$statement$,
$statement$revoke all on function copperplate.count_copies(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.count_copies(text[]) to service_role$statement$,
$statement$create function copperplate.reported_copies()
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_object_agg(t.tier, to_jsonb(t) - 'tier'), '{}')
    from (
        select
            r.tier,
            count(*) as places,
            sum(r.entries) as entries,
            sum(r.bytes) as bytes,
            extract(epoch from copperplate.clock() - min(r.reported_at)) as seconds_ago
        from copperplate.tier_reports as r
        where r.reported_at > copperplate.clock() - interval '5 minutes'
        group by r.tier
    ) as t;
$$$statement$,
$statement$comment on function copperplate.reported_copies() is
'What processes reported of their tiers in the last five minutes: {tier: {places, entries, bytes, seconds_ago}}, the age
of the oldest of these reports.'$statement$,
$statement$revoke all on function copperplate.reported_copies() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.reported_copies() to service_role$statement$,
$statement$create function copperplate.declare_copies_wrong(p_tiers text[], p_keys text[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_near text[] := array(select t.tier from unnest(p_tiers) as t (tier) where t.tier <> 'cdn');
begin
    if p_keys = '{}' then
        return;
    end if;
    if v_near <> '{}' then
        perform public.invalidate_tiers(v_near, p_keys);
    end if;
    if 'cdn' <> all(p_tiers) then
        return;
    end if;
    if p_keys is null then
        perform copperplate.add_cdn_purges_of_all();
    else
        perform copperplate.add_cdn_purges(
            copperplate.without_private(p_keys),
            (
                select coalesce(jsonb_agg(jsonb_build_array(e.bucket, e.path)), '[]')
                from copperplate.cache_entries as e
                where e.generation_key = any(p_keys)
            )
        );
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.declare_copies_wrong(text[], text[]) is
'Declare copies in these tiers (memory, disk, redis, cdn) wrong, of these generations or, where they are null, of all.'$statement$,
$statement$revoke all on function copperplate.declare_copies_wrong(text[], text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.declare_copies_wrong(text[], text[]) to service_role$statement$,
$statement$create function public.purge_copies(
    p_tiers text[],
    p_generation_key text default null,
    p_prompt text default null,
    p_key_prefix text default null,
    p_model text default null,
    p_older_than interval default null,
    p_is_all boolean default false,
    p_dry_run boolean default true
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- Of more than these all copies are dropped: that is less work than naming each.
    c_most constant integer := 1000;
    v_found text[];
    v_keys text[];
begin
    if not p_is_all then
        perform copperplate.check_purge(array[p_generation_key, p_prompt, p_key_prefix, p_model, p_older_than::text]);
        v_found := copperplate.find_to_purge(
            p_generation_key, p_prompt, p_key_prefix, p_model, p_older_than, 2147483647, true
        );
        -- A CDN may still have what the ledger has forgotten.
        if v_found = '{}' and p_generation_key is not null then
            v_found := array[p_generation_key];
        end if;
        v_keys := case when cardinality(v_found) <= c_most then v_found end;
    end if;
    if not p_dry_run then
        perform copperplate.declare_copies_wrong(p_tiers, v_keys);
    end if;
    return copperplate.count_copies(v_found)
        || jsonb_build_object('keys', v_keys, 'reported', copperplate.reported_copies());
end;
$$$statement$,
$statement$comment on function public.purge_copies(text[], text, text, text, text, interval, boolean, boolean) is
'Declare copies in these tiers (memory, disk, redis, cdn) wrong: of the generations that meet every condition given,
pinned ones too, or of all. The pictures stay. Answers what the ledger has of them: generations, entries, bytes (of
public kinds), objects; keys, null for all: of more than 1,000 generations all copies are dropped; and what processes
reported of all their copies, see reported_copies. A dry run only counts.'$statement$,
$statement$revoke all on function public.purge_copies(text[], text, text, text, text, interval, boolean, boolean)
from public, anon, authenticated$statement$,
$statement$grant execute on function public.purge_copies(text[], text, text, text, text, interval, boolean, boolean)
to service_role$statement$
]);

select pg_temp.apply_migration('20261120000830', 'create_discarded', array[
$statement$-- Objects that leave the store.

create function public.claim_discarded(p_limit integer default 100, p_grace interval default '1 hour')
returns table (id bigint, bucket text, path text)
language sql
volatile
security invoker
set search_path = ''
as $$
    update copperplate.discarded_objects as d
    set claimed_until = copperplate.clock() + interval '5 minutes'
    where d.id in (
        select o.id
        from copperplate.discarded_objects as o
        where
            o.discarded_at < copperplate.clock() - p_grace
            and (o.claimed_until is null or o.claimed_until < copperplate.clock())
            -- Never an object that a row needs after all. Row by row, not "not exists": once the planner takes a table
            -- for empty it would read all of it first, and a large cleanup leaves it far from empty on disk.
            and not coalesce((
                select true from copperplate.cache_entries as e
                where e.bucket = o.bucket and e.path = o.path
                limit 1
            ), false)
            and not coalesce((
                select true from public.generation_status as g
                where g.prompt_hash = o.generation_key and g.intent ->> 'path' = o.path
                limit 1
            ), false)
        order by o.id
        limit p_limit
        for update skip locked
    )
    returning d.id, d.bucket, d.path;
$$$statement$,
$statement$comment on function public.claim_discarded(integer, interval) is
'Reserve objects whose grace is over for five minutes, to remove them from the store and then forget them.'$statement$,
$statement$revoke all on function public.claim_discarded(integer, interval) from public, anon, authenticated$statement$,
$statement$grant execute on function public.claim_discarded(integer, interval) to service_role$statement$,
$statement$create function public.forget_discarded(p_ids bigint[])
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_forgotten integer;
begin
    delete from copperplate.discarded_objects as d where d.id = any(p_ids);
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end;
$$$statement$,
$statement$comment on function public.forget_discarded(bigint[]) is
'The store has removed these objects; answers how many rows went.'$statement$,
$statement$revoke all on function public.forget_discarded(bigint[]) from public, anon, authenticated$statement$,
$statement$grant execute on function public.forget_discarded(bigint[]) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000850', 'create_audits', array[
$statement$-- Audits: objects in the store that no row names, found by listing it. A crash of ours leaves none behind; a
-- restored database, a lost row or a stray upload may.

-- One row per bucket: how far the listing has come, and until when somebody is at it.
create table copperplate.audits (
    bucket text not null,
    reached text not null default '',
    claimed_until timestamptz not null,
    constraint audits_pkey primary key (bucket)
)$statement$,
$statement$comment on table copperplate.audits is
'How far the search for forgotten objects has come. Row-level security is on without a policy.'$statement$,
$statement$alter table copperplate.audits enable row level security$statement$,
$statement$revoke all on table copperplate.audits from public, anon, authenticated$statement$,
$statement$grant select, insert, update, delete on table copperplate.audits to service_role$statement$,
$statement$create function public.claim_audit(p_bucket text)
returns text
language sql
volatile
security invoker
set search_path = ''
as $$
    insert into copperplate.audits as a (bucket, claimed_until)
    values (p_bucket, copperplate.clock() + interval '1 minute')
    on conflict (bucket) do update set claimed_until = excluded.claimed_until
    where a.claimed_until < copperplate.clock()
    returning a.reached;
$$$statement$,
$statement$comment on function public.claim_audit(text) is
'Reserve the listing of a bucket for a minute; answers where to go on, or null while somebody else is at it.'$statement$,
$statement$revoke all on function public.claim_audit(text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.claim_audit(text) to service_role$statement$,
$statement$create function public.audit_objects(p_bucket text, p_paths text[], p_reached text)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_found integer;
begin
    insert into copperplate.discarded_objects (bucket, path, generation_key, discarded_at)
    select p_bucket, o.path, '', copperplate.clock()
    from unnest(p_paths) as o (path)
    where
        not exists (
            select from copperplate.cache_entries as e
            where e.bucket = p_bucket and e.path = o.path
        )
        -- A completed generation intends nothing, and those that are not completed are few.
        and not exists (
            select from public.generation_status as g
            where g.status <> 'completed' and g.intent ->> 'path' = o.path
        )
    on conflict (bucket, path) do nothing;
    get diagnostics v_found = row_count;

    insert into copperplate.audits as a (bucket, reached, claimed_until)
    values (p_bucket, p_reached, copperplate.clock() + interval '1 minute')
    on conflict (bucket) do update set reached = excluded.reached, claimed_until = excluded.claimed_until;
    return v_found;
end;
$$$statement$,
$statement$comment on function public.audit_objects(text, text[], text) is
'Discard those of the objects that no row names, and note how far the listing has come; answers how many.
Only objects older than any upload under way may be given: they go after their grace like every other.'$statement$,
$statement$revoke all on function public.audit_objects(text, text[], text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.audit_objects(text, text[], text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000852', 'create_entry_audit', array[
$statement$-- What must be true of entries. A row here is a fault: of ours, or of a hand that changed a table.
create view copperplate.entry_faults
with (security_invoker = true)
as
with forms as (
    select
        e.generation_key,
        e.kind,
        e.format,
        count(*) filter (where e.is_shown) as shown,
        bool_or(e.is_shown and not e.is_sized and coalesce(e.quality, 85) = 85) as shows_standard,
        bool_or(not e.is_sized and coalesce(e.quality, 85) = 85) as has_standard
    from copperplate.cache_entries as e
    where not e.is_original
    group by e.generation_key, e.kind, e.format
),

generations as (
    select
        g.prompt_hash as generation_key,
        g.kind,
        count(e.key) filter (where e.is_original) as originals,
        count(e.key) filter (where e.is_original and e.is_shown) as shown_originals,
        count(e.key) filter (where not e.is_original) as renditions,
        case g.status when 'completed' then 1 else 0 end as expected
    from public.generation_status as g
    left join copperplate.cache_entries as e on g.prompt_hash = e.generation_key
    group by g.prompt_hash
),

totals as (
    select
        p.kind,
        sum(p.images) as images,
        sum(p.image_bytes) as image_bytes,
        sum(p.stored_bytes) as stored_bytes,
        sum(p.accesses) as accesses
    from copperplate.public_totals as p
    group by p.kind
),

sums as (
    select
        k.name as kind,
        t.images,
        t.image_bytes,
        t.stored_bytes,
        t.accesses,
        count(e.key) filter (where e.is_shown) as shown,
        coalesce(sum(e.file_size) filter (where e.is_shown), 0) as shown_bytes,
        coalesce(sum(e.file_size), 0) as bytes,
        coalesce(sum(e.access_count), 0) as uses
    from copperplate.kinds as k
    left join totals as t on k.name = t.kind
    left join copperplate.cache_entries as e on k.name = e.kind
    group by k.name, t.images, t.image_bytes, t.stored_bytes, t.accesses
),

compared as (
    select
        f.generation_key,
        f.kind,
        'shown renditions in ' || f.format as fault,
        f.shown as found,
        case when k.is_own_original then 0 else 1 end as expected
    from forms as f
    inner join copperplate.kinds as k on f.kind = k.name
    union all
    select
        f.generation_key,
        f.kind,
        'the standard form is shown in ' || f.format as fault,
        f.shows_standard::integer as found,
        (f.has_standard and not k.is_own_original)::integer as expected
    from forms as f
    inner join copperplate.kinds as k on f.kind = k.name
    union all
    select
        g.generation_key,
        g.kind,
        'originals' as fault,
        g.originals as found,
        g.expected
    from generations as g
    union all
    select
        g.generation_key,
        g.kind,
        'shown originals' as fault,
        g.shown_originals as found,
        case when k.is_own_original then g.originals else 0 end as expected
    from generations as g
    inner join copperplate.kinds as k on g.kind = k.name
    union all
    select
        g.generation_key,
        g.kind,
        'renditions' as fault,
        g.renditions as found,
        least(g.renditions, 64) as expected
    from generations as g
    union all
    select
        null as generation_key,
        s.kind,
        t.fault,
        t.found,
        t.expected
    from sums as s
    cross join lateral (
        values
        ('total of pictures', coalesce(s.images, 0), s.shown),
        ('total of their bytes', coalesce(s.image_bytes, 0), s.shown_bytes),
        ('total of stored bytes', coalesce(s.stored_bytes, 0), s.bytes),
        ('total of uses', coalesce(s.accesses, 0), s.uses)
    ) as t (fault, found, expected)
)

select
    c.generation_key,
    c.kind,
    c.fault,
    c.found,
    c.expected
from compared as c
where c.found <> c.expected$statement$,
$statement$comment on view copperplate.entry_faults is
'Generations whose entries are not what they must be, and totals that are not the sums of entries; empty, always.'$statement$,
$statement$revoke all on table copperplate.entry_faults from public, anon, authenticated, service_role$statement$,
$statement$grant select on table copperplate.entry_faults to service_role$statement$,
$statement$create function public.audit_entries()
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'pictures', count(*) filter (where e.is_shown),
        'originals', count(*) filter (where e.is_original),
        'renditions', count(*) filter (where not e.is_original),
        'bytes', coalesce(sum(e.file_size), 0),
        'faults', (select coalesce(jsonb_agg(to_jsonb(f)), '[]') from copperplate.entry_faults as f)
    )
    from copperplate.cache_entries as e;
$$$statement$,
$statement$comment on function public.audit_entries() is
'Counts of entries, and faults: rows of copperplate.entry_faults, of which there should be none.'$statement$,
$statement$revoke all on function public.audit_entries() from public, anon, authenticated$statement$,
$statement$grant execute on function public.audit_entries() to service_role$statement$
]);

select pg_temp.apply_migration('20261120000856', 'create_batches', array[
$statement$-- Batches: many wishes at once. What its members are is in copperplate.wishes.
create table copperplate.batches (
    -- Nobody can guess it: it is the right to see the batch.
    id uuid not null default gen_random_uuid(),
    -- As budgets name payers: user:<id>, key:<id>, link:<key id>, owner.
    owner text not null,
    purpose text not null,
    -- As the caller sent it, to be told again.
    thread_id text,
    -- As the caller sent it; null where none was sent, or a day is over: then it is free again.
    idempotency_key text,
    -- SHA-256 of what was asked under that key.
    digest text not null default '',
    created_at timestamptz not null,
    canceled_at timestamptz,
    -- What members that were not stored when it began cost at most; null where a price is not known.
    estimate_micro_usd bigint,
    -- It has members of a kind that is told to its owner alone.
    is_private boolean not null default false,
    constraint batches_pkey primary key (id),
    constraint batches_idempotency_key unique (owner, idempotency_key),
    constraint batches_idempotency_key_is_short check (length(idempotency_key) between 1 and 255),
    constraint batches_thread_id_is_short check (length(thread_id) <= 200),
    constraint batches_purpose_is_known check (
        purpose in (
            'batch', -- a caller asked for it
            'warm'   -- pictures that are expected to be asked for
        )
    ),
    constraint batches_estimate_is_not_negative check (estimate_micro_usd >= 0)
)$statement$,
$statement$create index batches_created_idx on copperplate.batches (created_at)$statement$,
$statement$comment on table copperplate.batches is
'Many wishes at once, one row each.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$comment on column copperplate.batches.estimate_micro_usd is
'What members that were not stored when it began cost at most, in millionths of a dollar; null where a price is not
known.'$statement$,
$statement$alter table copperplate.batches enable row level security$statement$,
$statement$revoke all on table copperplate.batches from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.batches to service_role$statement$
]);

select pg_temp.apply_migration('20261120000857', 'create_wishes', array[
$statement$-- Wishes: what was promised to be made although nobody waits. A wish is only a reminder: what it costs is settled by
-- acquire_generation, so a wish that is carried out twice is a hit the second time.
--
--   make_wish, create_batch        take_wishes                        settle_wish
--   ───────────────────────► open ─────────────► open, held_until ─────────────────► completed, failed, canceled
--                             ▲                      │
--                             └── settle_wish: retry_at; or the hold is over and nobody leads the generation
create table copperplate.wishes (
    id bigint generated always as identity,
    batch_id uuid,
    -- Of a member of a batch, from 0.
    position integer,
    -- As budgets name payers; 'forgotten' of a user who is forgotten.
    owner text not null,
    generation_key text not null,
    kind text not null,
    recipe jsonb not null,
    -- As acquire_generation takes it; it names no address.
    spending jsonb,
    charge_user uuid,
    charge_credits integer,
    -- The smaller, the more urgent.
    priority integer not null,
    status text not null default 'open',
    -- Why it failed, as callers are told.
    code text,
    -- How often it was taken.
    tries integer not null default 0,
    -- Until then whoever took it is at work; longer, while the generation is under a live lease. It stands when its
    -- holder died; of what is put back, only where something was paid.
    held_until timestamptz,
    -- The pause of its last try.
    retry_at timestamptz,
    due_at timestamptz not null generated always as (
        greatest(created_at, held_until, retry_at)
    ) stored,
    -- Path and query of every form asked for, the first one first.
    paths jsonb not null default '[]',
    -- What the caller sent to be told again.
    echo jsonb not null default '{}',
    -- Stored before the batch was.
    cached boolean not null default false,
    created_at timestamptz not null,
    settled_at timestamptz,
    -- When a settled wish may be removed.
    forget_at timestamptz,
    constraint wishes_pkey primary key (id),
    constraint wishes_batch_fkey foreign key (batch_id) references copperplate.batches (id) on delete cascade,
    constraint wishes_position_key unique (batch_id, position),
    constraint wishes_member_key unique (batch_id, generation_key),
    constraint wishes_generation_key_is_sha256 check (generation_key ~ '^[0-9a-f]{64}$'),
    constraint wishes_status_is_known check (
        status in (
            'open',      -- to be made
            'completed', -- its original is stored
            'failed',    -- asking later does not help, or it was not made within a day
            'canceled'   -- withdrawn: its batch was canceled, or its caller was answered without it
        )
    ),
    constraint wishes_settled_has_end check (
        (status <> 'open') = (settled_at is not null) and (status <> 'open') = (forget_at is not null)
    ),
    constraint wishes_failed_has_code check ((status = 'failed') = (code is not null)),
    constraint wishes_member_has_position check ((batch_id is null) = (position is null)),
    constraint wishes_charge_is_whole check ((charge_user is null) = (charge_credits is null)),
    constraint wishes_tries_are_not_negative check (tries >= 0)
) with (fillfactor = 85)$statement$,
$statement$create index wishes_open_idx
on copperplate.wishes (priority, (batch_id is not null), due_at, id)
where status = 'open'$statement$,
$statement$-- Whether anything is due is asked with every write of usage, also where thousands that are open have to wait.
create index wishes_due_idx on copperplate.wishes (due_at) where status = 'open'$statement$,
$statement$create index wishes_held_idx on copperplate.wishes (held_until) where status = 'open' and held_until is not null$statement$,
$statement$create index wishes_age_idx on copperplate.wishes (created_at) where status = 'open'$statement$,
$statement$create index wishes_open_generation_idx on copperplate.wishes (generation_key) where status = 'open'$statement$,
$statement$-- How many an owner has.
create index wishes_open_owner_idx on copperplate.wishes (owner) where status = 'open' and owner <> 'owner'$statement$,
$statement$create unique index wishes_single_idx
on copperplate.wishes (owner, generation_key)
where status = 'open' and batch_id is null$statement$,
$statement$-- Of single ones: a batch is forgotten whole.
create index wishes_forget_idx on copperplate.wishes (forget_at) where forget_at is not null and batch_id is null$statement$,
$statement$-- For the deletion of a user, and for whom a generation is told.
create index wishes_user_idx on copperplate.wishes (owner, generation_key) where owner like 'user:%'$statement$,
$statement$comment on table copperplate.wishes is
'What was promised to be made although nobody waits: one row per generation and caller, members of batches included.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$comment on column copperplate.wishes.code is 'Why it failed: the code of the error that its caller would have got.'$statement$,
$statement$comment on column copperplate.wishes.due_at is 'From then on it may be taken, while nobody leads its generation.'$statement$,
$statement$alter table copperplate.wishes enable row level security$statement$,
$statement$revoke all on table copperplate.wishes from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.wishes to service_role$statement$,
$statement$create function copperplate.owner_to_keep(p_owner text)
returns text
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- A token outlives its user by up to an hour. Whoever forgets the user waits for this transaction.
    perform copperplate.hold_user(jsonb_build_object('budgets', jsonb_build_array(jsonb_build_object('name', p_owner))));
    if copperplate.is_forgotten(p_owner) then
        return 'forgotten';
    end if;
    return p_owner;
end;
$$$statement$,
$statement$comment on function copperplate.owner_to_keep(text) is
'The owner to write down: as given, or forgotten, for a user who was forgotten.'$statement$,
$statement$revoke all on function copperplate.owner_to_keep(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.owner_to_keep(text) to service_role$statement$,
$statement$create function copperplate.check_recipe(p_recipe jsonb, p_generation_key text)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    if public.cache_key(p_recipe) is distinct from p_generation_key then
        raise exception 'the generation key is not the key of the recipe'
            using errcode = 'ZC002', hint = 'Send cache_key(p_recipe) as p_generation_key.';
    end if;
    if not exists (select from copperplate.kinds as k where k.name = p_recipe ->> 'kind') then
        raise exception 'unknown kind of picture'
            using errcode = 'ZC003', hint = 'Known kinds are the rows of copperplate.kinds.';
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.check_recipe(jsonb, text) is
'Raises ZC002 where the key is not the key of the recipe, and ZC003 where nobody knows its kind.'$statement$,
$statement$revoke all on function copperplate.check_recipe(jsonb, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.check_recipe(jsonb, text) to service_role$statement$,
$statement$create function copperplate.check_open_wishes(p_owner text)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    -- The owner of the service may warm as much as the table takes.
    if
        (
            select count(*)
            from copperplate.wishes as w
            where w.owner = p_owner and w.status = 'open' and w.owner <> 'owner'
        ) > 10000
    then
        raise exception 'too many open wishes' using errcode = 'ZC014', hint = 'Wait until some of them are made.';
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.check_open_wishes(text) is
'Raises ZC014 where more than 10,000 wishes of this owner are open, unless that is owner.'$statement$,
$statement$revoke all on function copperplate.check_open_wishes(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.check_open_wishes(text) to service_role$statement$,
$statement$create function public.make_wish(
    -- {generation_key, recipe, owner, spending, charge_user, charge_credits, priority, paths, echo}
    p_wish jsonb,
    p_held_for interval
)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_owner text := copperplate.owner_to_keep(p_wish ->> 'owner');
    v_is_kept boolean := v_owner = p_wish ->> 'owner';
    v_wish bigint;
begin
    perform copperplate.check_recipe(p_wish -> 'recipe', p_wish ->> 'generation_key');
    insert into copperplate.wishes as w (
        owner, generation_key, kind, recipe, spending, charge_user, charge_credits, priority, paths, echo,
        status, code, held_until, created_at, settled_at, forget_at
    )
    select
        v_owner, n.generation_key, n.recipe ->> 'kind', n.recipe,
        case when v_is_kept then n.spending end,
        case when v_is_kept then n.charge_user end,
        case when v_is_kept then n.charge_credits end,
        n.priority, n.paths, n.echo,
        -- Of a user who was forgotten nothing is made: the budget refuses the one who asks with an old token, too.
        case when v_is_kept then 'open' else 'failed' end,
        case when not v_is_kept then 'spending_refused' end,
        case when v_is_kept then v_now + p_held_for end,
        v_now,
        case when not v_is_kept then v_now end,
        case when not v_is_kept then v_now end
    from jsonb_to_record(p_wish) as n (
        generation_key text, recipe jsonb, spending jsonb, charge_user uuid, charge_credits integer, priority integer,
        paths jsonb, echo jsonb
    )
    on conflict (owner, generation_key) where status = 'open' and batch_id is null do update
    -- Promised anew: it has its day again, and waits for no pause of an earlier try.
    set
        held_until = greatest(w.held_until, excluded.held_until), retry_at = null,
        priority = least(w.priority, excluded.priority), created_at = excluded.created_at
    returning w.id into v_wish;
    perform copperplate.check_open_wishes(v_owner);
    -- One that is held is its maker's to begin.
    if p_held_for <= interval '0' then
        perform pg_notify('copperplate', 'work');
    end if;
    return v_wish;
end;
$$$statement$,
$statement$comment on function public.make_wish(jsonb, interval) is
'Keep a wish, {generation_key, recipe, owner, spending, charge_user, charge_credits, priority, paths, echo}, and answer
its id; for p_held_for nobody else takes it. An open wish of the same owner for the same generation, outside of batches,
is that wish. Raises ZC002 where the key is not that of the recipe, ZC003 for an unknown kind, ZC014 where more than
10,000 wishes of the owner are open.'$statement$,
$statement$revoke all on function public.make_wish(jsonb, interval) from public, anon, authenticated$statement$,
$statement$grant execute on function public.make_wish(jsonb, interval) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000858', 'create_work', array[
$statement$-- Work: who carries wishes out, and how they end.

create function copperplate.is_led(p_generation_key text, p_now timestamptz)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return exists (
        select from public.generation_status as g
        where g.prompt_hash = p_generation_key and g.status in ('pending', 'generating') and g.lease_until > p_now
    );
end;
$$$statement$,
$statement$comment on function copperplate.is_led(text, timestamptz) is 'Whether this generation is under a live lease.'$statement$,
$statement$revoke all on function copperplate.is_led(text, timestamptz) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.is_led(text, timestamptz) to service_role$statement$,
$statement$create function copperplate.is_paid(p_generation_key text)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return exists (
        select from public.generation_status as g
        where
            g.prompt_hash = p_generation_key
            and (
                g.status in ('generating', 'completed')
                -- As copperplate.resumes has it: the next leader goes on with what was sent.
                or (
                    g.status = 'failed' and g.error_class in ('abandoned', 'uncollected')
                    and g.phase in ('submitting', 'submitted', 'uploading')
                )
            )
    );
end;
$$$statement$,
$statement$comment on function copperplate.is_paid(text) is
'Whether a request for this generation was sent that may be billed, and its picture can be had without another.'$statement$,
$statement$revoke all on function copperplate.is_paid(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.is_paid(text) to service_role$statement$,
$statement$create function copperplate.count_wishes_in_flight(p_now timestamptz)
returns bigint
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    -- What callers' own calls make is not work of a step, which must not wait for it.
    -- From the leases, which are few, to the wishes. Two wishes for one generation are one picture at the provider.
    return count(*)
    from (
        select w.generation_key
        from copperplate.wishes as w
        where w.status = 'open' and w.held_until is not null and w.held_until > p_now and w.tries > 0
        union
        select w.generation_key
        from (
            select g.prompt_hash
            from public.generation_status as g
            where g.status in ('pending', 'generating') and g.lease_until > p_now
            offset 0
        ) as l
        inner join copperplate.wishes as w on l.prompt_hash = w.generation_key and w.status = 'open' and w.tries > 0
    ) as f;
end;
$$$statement$,
$statement$comment on function copperplate.count_wishes_in_flight(timestamptz) is
'For how many generations open wishes that were taken are held, or wait while they are under a live lease.'$statement$,
$statement$revoke all on function copperplate.count_wishes_in_flight(timestamptz) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.count_wishes_in_flight(timestamptz) to service_role$statement$,
$statement$create function public.is_work_due()
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    -- Of those that are due by their own times, few have a generation that is led.
    return exists (
        select from copperplate.wishes as w
        where w.status = 'open' and w.due_at <= v_now and not copperplate.is_led(w.generation_key, v_now)
    );
end;
$$$statement$,
$statement$comment on function public.is_work_due() is 'Whether a wish may be taken now.'$statement$,
$statement$revoke all on function public.is_work_due() from public, anon, authenticated$statement$,
$statement$grant execute on function public.is_work_due() to service_role$statement$,
$statement$create function copperplate.forget_wish_after(p_batch uuid)
returns interval
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    -- Longer where it is still to be seen how many warmed pictures were asked for.
    return case
        when exists (select from copperplate.batches as b where b.id = p_batch and b.purpose = 'warm')
            then interval '90 days'
        else interval '7 days'
    end;
end;
$$$statement$,
$statement$comment on function copperplate.forget_wish_after(uuid) is 'How long settled wishes of this batch are kept.'$statement$,
$statement$revoke all on function copperplate.forget_wish_after(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.forget_wish_after(uuid) to service_role$statement$,
$statement$create function copperplate.end_wishes(p_wishes bigint[], p_status text, p_code text default null)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_changed text[];
begin
    with ended as (
        update copperplate.wishes as w
        set
            status = p_status, code = p_code, held_until = null, retry_at = null, settled_at = v_now,
            forget_at = v_now + copperplate.forget_wish_after(w.batch_id)
        where w.id = any(p_wishes) and w.status = 'open'
        returning coalesce(w.batch_id::text, w.generation_key) as subject
    )

    select array_agg(e.subject) into v_changed from ended as e;
    -- Who watches a batch, or a generation.
    perform pg_notify('copperplate', s.subject) from (select distinct u.subject from unnest(v_changed) as u (subject)) as s;
    return coalesce(cardinality(v_changed), 0);
end;
$$$statement$,
$statement$comment on function copperplate.end_wishes(bigint[], text, text) is
'End those of the wishes that are open; answers how many. Their batches are announced, or their generations.'$statement$,
$statement$revoke all on function copperplate.end_wishes(bigint[], text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.end_wishes(bigint[], text, text) to service_role$statement$,
$statement$create function copperplate.abandon_wishes(p_limit integer)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_old bigint[];
    v_made bigint[];
begin
    v_old := array(
        select w.id
        from copperplate.wishes as w
        where
            w.status = 'open' and w.created_at <= v_now - interval '1 day'
            and (w.held_until is null or w.held_until <= v_now)
            and not copperplate.is_led(w.generation_key, v_now)
        order by w.created_at
        limit p_limit
        for update skip locked
    );
    -- The end of a transaction with a notification is not free.
    if v_old = '{}' then
        return 0;
    end if;
    v_made := array(
        select w.id
        from copperplate.wishes as w
        inner join public.generation_status as g on w.generation_key = g.prompt_hash
        where w.id = any(v_old) and g.status = 'completed'
    );
    return copperplate.end_wishes(v_made, 'completed') + copperplate.end_wishes(v_old, 'failed', 'abandoned');
end;
$$$statement$,
$statement$comment on function copperplate.abandon_wishes(integer) is
'End wishes that stayed open for a day and that nobody makes, at most p_limit: as completed where somebody else had the
picture made, else as failed. Answers how many.'$statement$,
$statement$revoke all on function copperplate.abandon_wishes(integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.abandon_wishes(integer) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000859', 'create_work_steps', array[
$statement$-- The steps of work: take what is due, and settle it.

create function copperplate.next_wishes(p_limit bigint, p_now timestamptz)
returns bigint[]
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_paid bigint[];
    v_next bigint[];
begin
    -- Of what is due, that alone whose holder died, or which was put back paid, still has an end of its hold.
    v_paid := array(
        select w.id
        from copperplate.wishes as w
        where
            w.status = 'open' and w.held_until is not null and w.held_until <= p_now and w.due_at <= p_now
            and not copperplate.is_led(w.generation_key, p_now) and copperplate.is_paid(w.generation_key)
        order by w.priority, w.due_at, w.id
        limit p_limit
        for update skip locked
    );
    v_next := array(
        select w.id
        from copperplate.wishes as w
        where w.status = 'open' and w.due_at <= p_now and not copperplate.is_led(w.generation_key, p_now)
        order by w.priority, (w.batch_id is not null), w.due_at, w.id
        limit p_limit
        for update skip locked
    );
    return array(
        select w.id
        from copperplate.wishes as w
        where w.id = any(v_paid || v_next)
        order by w.priority, (w.id <> all(v_paid)), (w.batch_id is not null), w.due_at, w.id
        limit p_limit
    );
end;
$$$statement$,
$statement$comment on function copperplate.next_wishes(bigint, timestamptz) is
'At most p_limit due wishes, locked, the most urgent first. Of one urgency what was paid for and lost its leader comes
first, then wishes outside of batches, then members of batches; of those what waits longest.'$statement$,
$statement$revoke all on function copperplate.next_wishes(bigint, timestamptz) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.next_wishes(bigint, timestamptz) to service_role$statement$,
$statement$create function copperplate.is_key_over(p_owner text, p_now timestamptz)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    if p_owner !~ '^key:[0-9a-f-]{36}$' then
        return false;
    end if;
    return exists (
        select from copperplate.api_keys as k
        where
            k.id = substr(p_owner, length('key:') + 1)::uuid
            and (k.revoked_at is not null or k.expires_at <= p_now)
    );
end;
$$$statement$,
$statement$comment on function copperplate.is_key_over(text, timestamptz) is
'Whether this owner of wishes is an API key that is revoked or has expired.'$statement$,
$statement$revoke all on function copperplate.is_key_over(text, timestamptz) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.is_key_over(text, timestamptz) to service_role$statement$,
$statement$create function public.take_wishes(p_in_flight integer, p_held_for interval, p_limit integer default null)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz;
    v_due bigint[];
    v_withdrawn bigint[];
    v_refused bigint[];
    v_taken jsonb;
begin
    -- Most who ask find nothing, and wait for nobody.
    if not public.is_work_due() then
        return '[]'::jsonb;
    end if;
    -- Until the commit nobody else counts what is in flight.
    perform pg_advisory_xact_lock(hashtextextended('copperplate work', 0));
    v_now := copperplate.clock();
    perform copperplate.abandon_wishes(1000);
    loop
        v_due := copperplate.next_wishes(
            greatest(least(p_in_flight - copperplate.count_wishes_in_flight(v_now), p_limit), 0), v_now
        );
        -- Its batch was canceled while it was held: it goes on only where something was paid.
        v_withdrawn := array(
            select w.id
            from copperplate.wishes as w
            inner join copperplate.batches as b on w.batch_id = b.id
            where w.id = any(v_due) and b.canceled_at is not null and not copperplate.is_paid(w.generation_key)
        );
        -- Nor does an API key spend more by its wishes than by its requests. What it paid for is collected.
        v_refused := array(
            select w.id
            from copperplate.wishes as w
            where
                w.id = any(v_due) and w.id <> all(v_withdrawn) and copperplate.is_key_over(w.owner, v_now)
                and not copperplate.is_paid(w.generation_key)
        );
        exit when v_withdrawn = '{}' and v_refused = '{}';
        perform copperplate.end_wishes(v_withdrawn, 'canceled');
        perform copperplate.end_wishes(v_refused, 'failed', 'unauthorized');
    end loop;

    with taken as (
        update copperplate.wishes as w
        set held_until = v_now + p_held_for, retry_at = null, tries = w.tries + 1
        where w.id = any(v_due)
        returning w.*
    )

    select
        jsonb_agg(
            jsonb_build_object(
                'id', t.id, 'generation_key', t.generation_key, 'recipe', t.recipe, 'owner', t.owner,
                'spending', t.spending, 'charge_user', t.charge_user, 'charge_credits', t.charge_credits,
                'tries', t.tries, 'paths', t.paths
            )
            order by array_position(v_due, t.id)
        )
    into v_taken
    from taken as t;
    return coalesce(v_taken, '[]');
end;
$$$statement$,
$statement$comment on function public.take_wishes(integer, interval, integer) is
'Take due wishes in the order of next_wishes, so that at most p_in_flight that were taken are in flight over all
callers: held, or waiting for a generation under a live lease; no more than p_limit at once. Answers [{id,
generation_key, recipe, owner, spending, charge_user, charge_credits, tries, paths}]; for p_held_for nobody else takes
them. Wishes that stayed open for a day fail as abandoned, those of an API key that is revoked or has expired as
unauthorized.'$statement$,
$statement$revoke all on function public.take_wishes(integer, interval, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function public.take_wishes(integer, interval, integer) to service_role$statement$,
$statement$create function public.settle_wish(
    p_wish bigint, p_status text, p_code text default null, p_retry_after interval default '0'
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_is_canceled boolean;
begin
    if p_status <> 'open' then
        return copperplate.end_wishes(array[p_wish], p_status, p_code) = 1;
    end if;

    -- Locked first: a cancel that comes now waits, and then finds it open and not held.
    perform from copperplate.wishes as w where w.id = p_wish and w.status = 'open' for update;
    if not found then
        return false;
    end if;
    v_is_canceled := exists (
        select from copperplate.wishes as w
        inner join copperplate.batches as b on w.batch_id = b.id
        where w.id = p_wish and b.canceled_at is not null and not copperplate.is_paid(w.generation_key)
    );
    if v_is_canceled then
        perform copperplate.end_wishes(array[p_wish], 'canceled');
    else
        update copperplate.wishes as w
        set
            -- next_wishes finds what was paid for by it.
            held_until = case when copperplate.is_paid(w.generation_key) then copperplate.clock() end,
            retry_at = copperplate.clock() + p_retry_after
        where w.id = p_wish;
    end if;
    return true;
end;
$$$statement$,
$statement$comment on function public.settle_wish(bigint, text, text, interval) is
'End a wish as completed, failed (with the code that callers are told) or canceled, or put it back as open, to be due
after p_retry_after: a member of a canceled batch that nothing was paid for is canceled instead. False where it has ended
before.'$statement$,
$statement$revoke all on function public.settle_wish(bigint, text, text, interval) from public, anon, authenticated$statement$,
$statement$grant execute on function public.settle_wish(bigint, text, text, interval) to service_role$statement$,
$statement$create function public.get_pending_prompts(p_limit integer default 5)
returns table (
    generation_key text,
    kind text,
    prompt text,
    priority integer,
    tries integer,
    created_at timestamptz
)
language sql
stable
security invoker
set search_path = ''
as $$
    select w.generation_key, w.kind, coalesce(w.recipe ->> 'prompt', w.kind), w.priority, w.tries, w.created_at
    from copperplate.wishes as w
    where w.status = 'open'
    order by w.priority, w.id
    limit p_limit;
$$$statement$,
$statement$comment on function public.get_pending_prompts(integer) is
'What is still to be made, at most p_limit, the most urgent first: the prompt, or the kind of a picture without one.'$statement$,
$statement$revoke all on function public.get_pending_prompts(integer) from public, anon, authenticated$statement$,
$statement$grant execute on function public.get_pending_prompts(integer) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000860', 'create_batch_creation', array[
$statement$-- How a batch begins: with all of its wishes, in one transaction.

create function copperplate.check_recipes(p_wishes jsonb)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    -- One statement: the common case is that all of them are right.
    if exists (
        select from jsonb_array_elements(p_wishes) as m (wish)
        left join copperplate.kinds as k on m.wish #>> '{recipe,kind}' = k.name
        where k.name is null or public.cache_key(m.wish -> 'recipe') is distinct from m.wish ->> 'generation_key'
    ) then
        perform copperplate.check_recipe(m.wish -> 'recipe', m.wish ->> 'generation_key')
        from jsonb_array_elements(p_wishes) as m (wish);
    end if;
end;
$$$statement$,
$statement$comment on function copperplate.check_recipes(jsonb) is
'Raises ZC002 where a key is not the key of its recipe, and ZC003 where nobody knows a kind.'$statement$,
$statement$revoke all on function copperplate.check_recipes(jsonb) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.check_recipes(jsonb) to service_role$statement$,
$statement$create function copperplate.add_members(
    p_batch uuid, p_owner text, p_wishes jsonb, p_is_kept boolean, p_held_for interval
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_forget_at timestamptz := v_now + copperplate.forget_wish_after(p_batch);
begin
    insert into copperplate.wishes (
        batch_id, position, owner, generation_key, kind, recipe, spending, charge_user, charge_credits, priority, paths,
        echo, status, code, cached, held_until, created_at, settled_at, forget_at
    )
    select
        p_batch, m.n - 1, p_owner, w.generation_key, w.recipe ->> 'kind', w.recipe,
        case when p_is_kept then w.spending end,
        case when p_is_kept then w.charge_user end,
        case when p_is_kept then w.charge_credits end,
        w.priority, w.paths, w.echo, s.status, s.code, s.status = 'completed',
        case when s.status = 'open' and p_held_for > interval '0' then v_now + p_held_for end,
        v_now,
        case when s.status <> 'open' then v_now end,
        case when s.status <> 'open' then v_forget_at end
    from jsonb_array_elements(p_wishes) with ordinality as m (wish, n)
    cross join lateral jsonb_to_record(m.wish) as w (
        generation_key text, recipe jsonb, spending jsonb, charge_user uuid, charge_credits integer, priority integer,
        paths jsonb, echo jsonb
    )
    cross join lateral (
        select
            case
                when copperplate.is_taken_down(w.generation_key) then 'taken_down'
                when not p_is_kept then 'spending_refused'
            end as code,
            exists (
                select from public.generation_status as g
                where g.prompt_hash = w.generation_key and g.status = 'completed'
            ) as is_stored
    ) as c
    cross join lateral (
        select
            case when c.code is not null then 'failed' when c.is_stored then 'completed' else 'open' end as status,
            c.code
    ) as s
    -- One order for all: of two batches none waits for the other.
    order by m.n;
end;
$$$statement$,
$statement$comment on function copperplate.add_members(uuid, text, jsonb, boolean, interval) is
'Insert the members of a batch in their order; for p_held_for nobody takes them. Those whose original is stored are
completed at once, those that were taken down failed. Unless p_is_kept, what is not taken down is refused, and names
nobody.'$statement$,
$statement$revoke all on function copperplate.add_members(uuid, text, jsonb, boolean, interval) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.add_members(uuid, text, jsonb, boolean, interval) to service_role$statement$,
$statement$create function public.create_batch(
    -- {id, owner, purpose, thread_id, idempotency_key, digest, wishes: [make_wish's, without owner]}
    p_batch jsonb,
    p_held_for interval default '0'
)
returns uuid
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_owner text := copperplate.owner_to_keep(p_batch ->> 'owner');
    v_batch copperplate.batches;
    v_is_due boolean;
begin
    -- A day later the key is free again.
    update copperplate.batches as b
    set idempotency_key = null
    where
        b.owner = v_owner and b.idempotency_key = p_batch ->> 'idempotency_key'
        and b.created_at <= v_now - interval '1 day';
    insert into copperplate.batches (id, owner, purpose, thread_id, idempotency_key, digest, created_at)
    select
        coalesce(n.id, gen_random_uuid()), v_owner, n.purpose, n.thread_id, n.idempotency_key, coalesce(n.digest, ''),
        v_now
    from jsonb_to_record(p_batch) as n (
        id uuid, purpose text, thread_id text, idempotency_key text, digest text
    )
    -- This batch again, as its caller never got the answer; or another under the same key.
    on conflict do nothing
    returning * into v_batch;
    if not found then
        return (
            select b.id
            from copperplate.batches as b
            where
                b.id = (p_batch ->> 'id')::uuid
                or (
                    b.owner = v_owner and b.idempotency_key = p_batch ->> 'idempotency_key'
                    and b.digest = p_batch ->> 'digest'
                )
            limit 1
        );
    end if;

    -- Of two batches of one owner the second one counts the first.
    perform pg_advisory_xact_lock(hashtextextended('copperplate wishes ' || v_owner, 0));
    perform copperplate.check_recipes(p_batch -> 'wishes');
    perform copperplate.add_members(
        v_batch.id, v_owner, p_batch -> 'wishes', v_owner = p_batch ->> 'owner', p_held_for
    );
    update copperplate.batches as b
    set estimate_micro_usd = m.estimate_micro_usd, is_private = m.is_private
    from (
        select
            case
                when count(*) filter (where w.status = 'open' and w.spending is null) = 0
                    then coalesce(
                        sum((w.spending ->> 'amount_micro_usd')::bigint) filter (where w.status = 'open'), 0
                    )
            end as estimate_micro_usd,
            coalesce(bool_or(k.is_private), false) as is_private
        from copperplate.wishes as w
        inner join copperplate.kinds as k on w.kind = k.name
        where w.batch_id = v_batch.id
    ) as m
    where b.id = v_batch.id;
    perform copperplate.check_open_wishes(v_owner);
    -- What is held is its maker's to begin.
    v_is_due := p_held_for <= interval '0' and exists (
        select from copperplate.wishes as w where w.batch_id = v_batch.id and w.status = 'open'
    );
    if v_is_due then
        perform pg_notify('copperplate', 'work');
    end if;
    return v_batch.id;
end;
$$$statement$,
$statement$comment on function public.create_batch(jsonb, interval) is
'Keep a batch, {id, owner, purpose, thread_id, idempotency_key, digest, wishes}, no generation twice; answers its id.
Its wishes are those of make_wish, without an owner; for p_held_for nobody takes them. Repeated by its owner under the
same idempotency key within a day it is the same batch, and nothing is written; null where that key stands for another
digest. Raises ZC002, ZC003 and ZC014 as make_wish does.'$statement$,
$statement$revoke all on function public.create_batch(jsonb, interval) from public, anon, authenticated$statement$,
$statement$grant execute on function public.create_batch(jsonb, interval) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000861', 'create_batch_reads', array[
$statement$-- Batches as they are now. The truth about a picture is its generation's, whoever made it.

create function copperplate.wished_state(p_generation public.generation_status, p_now timestamptz)
returns text
language sql
immutable
security invoker
set search_path = ''
as $$
    select case
        when p_generation.status in ('pending', 'generating', 'completed') then p_generation.status
        when p_generation.status = 'failed' then
            case
                -- As copperplate.resumes has it: the next leader goes on with what was sent.
                when
                    p_generation.error_class in ('abandoned', 'uncollected')
                    and p_generation.phase in ('submitting', 'submitted', 'uploading')
                    then 'generating'
                -- It is tried again, unless until then nobody is going to.
                when
                    p_generation.retry_at > p_now
                    and p_generation.error_class in ('moderated', 'invalid', 'bad_output', 'ambiguous', 'lost')
                    then 'failed'
                else 'pending'
            end
    end;
$$$statement$,
$statement$comment on function copperplate.wished_state(public.generation_status, timestamptz) is
'What callers are told of a generation that an open wish waits for; null where there is no row of it.'$statement$,
$statement$revoke all on function copperplate.wished_state(public.generation_status, timestamptz)
from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.wished_state(public.generation_status, timestamptz) to service_role$statement$,
$statement$create view copperplate.members
with (security_invoker = true)
as
select
    w.id,
    w.batch_id,
    w.position,
    w.generation_key,
    w.kind,
    case when w.status = 'open' then coalesce(s.state, 'pending') else w.status end as state,
    w.cached,
    -- As whoever takes the wish is going to be told.
    case when w.status = 'open' and s.state = 'failed' then s.error_class else w.code end as code,
    w.status = 'open' and (coalesce(w.held_until > s.now, false) or coalesce(s.is_led, false)) as is_led,
    w.paths,
    w.echo
from copperplate.wishes as w
left join lateral (
    select
        c.now,
        copperplate.wished_state(g, c.now) as state,
        g.error_class,
        g.status in ('pending', 'generating') and g.lease_until > c.now as is_led
    from copperplate.clock() as c (now)
    left join public.generation_status as g on w.generation_key = g.prompt_hash
    where w.status = 'open'
) as s on true
where w.batch_id is not null$statement$,
$statement$comment on view copperplate.members is
'Members of batches with the state that callers are told: of open ones, that of their generation. is_led: somebody is at
work on it.'$statement$,
$statement$revoke all on table copperplate.members from public, anon, authenticated, service_role$statement$,
$statement$grant select on table copperplate.members to service_role$statement$,
$statement$create function public.find_batch(p_batch uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'id', b.id, 'owner', b.owner, 'purpose', b.purpose, 'thread_id', b.thread_id,
        'created_at', b.created_at, 'canceled_at', b.canceled_at, 'estimate_micro_usd', b.estimate_micro_usd,
        'counts', coalesce(c.counts, '{}'), 'cached', coalesce(c.cached, 0), 'is_private', b.is_private,
        'is_led', coalesce(c.is_led, false)
    )
    from copperplate.batches as b
    cross join lateral (
        select
            jsonb_object_agg(s.state, s.number) as counts,
            sum(s.cached) as cached,
            bool_or(s.is_led) as is_led
        from (
            select
                m.state,
                count(*) as number,
                count(*) filter (where m.cached) as cached,
                bool_or(m.is_led) as is_led
            from copperplate.members as m
            where m.batch_id = b.id
            group by m.state
        ) as s
    ) as c
    where b.id = p_batch;
$$$statement$,
$statement$comment on function public.find_batch(uuid) is
'A batch as it is now: {id, owner, purpose, thread_id, created_at, canceled_at, estimate_micro_usd, counts by state,
cached, is_private, is_led}; null where there is none.'$statement$,
$statement$revoke all on function public.find_batch(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function public.find_batch(uuid) to service_role$statement$,
$statement$create function public.list_members(p_batch uuid, p_after integer default -1, p_limit integer default 100)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(to_jsonb(p) order by p.position), '[]')
    from (
        select m.id as wish, m.position, m.generation_key, m.kind, m.state, m.cached, m.code, m.paths, m.echo
        from copperplate.members as m
        where m.batch_id = p_batch and m.position > p_after
        order by m.position
        limit p_limit
    ) as p;
$$$statement$,
$statement$comment on function public.list_members(uuid, integer, integer) is
'At most p_limit members of a batch with a position above p_after, in their order: [{wish, position, generation_key,
kind, state, cached, code, paths, echo}].'$statement$,
$statement$revoke all on function public.list_members(uuid, integer, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function public.list_members(uuid, integer, integer) to service_role$statement$,
$statement$create function public.cancel_batch(p_batch uuid)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_open bigint[];
    v_withdrawn bigint[];
    v_saved bigint;
begin
    perform from copperplate.batches as b where b.id = p_batch for no key update;
    if not found then
        return null;
    end if;
    -- Somebody who takes one of them goes first, and then it is held.
    v_open := array(
        select w.id
        from copperplate.wishes as w
        where w.batch_id = p_batch and w.status = 'open'
        order by w.id
        for update
    );
    -- One that has ended stays as it is told.
    update copperplate.batches as b
    set canceled_at = coalesce(b.canceled_at, v_now)
    where
        b.id = p_batch
        and exists (
            select from copperplate.members as m where m.batch_id = b.id and m.state in ('pending', 'generating')
        );
    if not found then
        return '{"withdrawn": 0, "under_way": 0, "saved_micro_usd": 0}'::jsonb;
    end if;
    v_withdrawn := array(
        select w.id
        from copperplate.wishes as w
        where
            w.id = any(v_open) and w.status = 'open' and (w.held_until is null or w.held_until <= v_now)
            and not copperplate.is_led(w.generation_key, v_now) and not copperplate.is_paid(w.generation_key)
    );
    perform copperplate.end_wishes(v_withdrawn, 'canceled');
    select coalesce(sum((w.spending ->> 'amount_micro_usd')::bigint), 0)
    into v_saved
    from copperplate.wishes as w
    where
        w.id = any(v_withdrawn)
        and not exists (
            select from copperplate.wishes as o where o.generation_key = w.generation_key and o.status = 'open'
        );
    return jsonb_build_object(
        'withdrawn', cardinality(v_withdrawn),
        'under_way', (
            select count(*)
            from copperplate.members as m
            where m.batch_id = p_batch and m.state in ('pending', 'generating')
        ),
        'saved_micro_usd', v_saved
    );
end;
$$$statement$,
$statement$comment on function public.cancel_batch(uuid) is
'Withdraw every member that is not in flight and that nothing was paid for. Answers {withdrawn, under_way,
saved_micro_usd}: saved is what was estimated for those that nobody else wishes for. Of a batch that has ended nothing
changes; repeated it withdraws and saves nothing more. Null where there is no such batch.'$statement$,
$statement$revoke all on function public.cancel_batch(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function public.cancel_batch(uuid) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000862', 'create_generation_states', array[
$statement$-- Generations as callers are told of them.

create function copperplate.usual_ms(p_kind text, p_model text)
returns double precision
language sql
stable
security invoker
set search_path = ''
as $$
    -- The newest by time alone: few rows, whatever the kind's pictures were made by.
    select percentile_cont(0.5) within group (order by o.generation_ms)
    from (
        select e.generation_key, e.generation_ms, e.is_original
        from copperplate.cache_entries as e
        where e.kind = p_kind and e.archived_at is null
        order by e.created_at desc
        limit 200
    ) as o
    inner join public.generation_status as g on o.generation_key = g.prompt_hash
    where o.is_original and o.generation_ms is not null and g.model = p_model;
$$$statement$,
$statement$comment on function copperplate.usual_ms(text, text) is
'The median time from the first submit to the picture, in milliseconds, of those pictures of this kind and model that
are among the last 200 entries; null where there are none.'$statement$,
$statement$revoke all on function copperplate.usual_ms(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.usual_ms(text, text) to service_role$statement$,
$statement$create function public.get_generation_state(p_generation_key text, p_with_usual boolean default false)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v public.generation_status;
    v_wish copperplate.wishes;
    v_state text;
begin
    select g.* into v from public.generation_status as g where g.prompt_hash = p_generation_key;
    select w.* into v_wish
    from copperplate.wishes as w
    where w.generation_key = p_generation_key and w.status = 'open'
    order by w.created_at, w.id
    limit 1;
    if v.prompt_hash is null and v_wish.id is null then
        return null;
    end if;

    v_state := case
        -- A follower takes over within seconds. Here nobody did, and nobody will unless somebody asks anew.
        when v_wish.id is null and v.status in ('pending', 'generating') and v.lease_until < v_now - interval '10 seconds'
            then 'failed'
        when v_wish.id is null then v.status
        else coalesce(copperplate.wished_state(v, v_now), 'pending')
    end;
    return jsonb_build_object(
        'generation_key', p_generation_key,
        'kind', coalesce(v.kind, v_wish.kind),
        'state', v_state,
        -- Of what was asked for anew, when that was.
        'created_at', case
            when v_state = 'pending' and v.status = 'failed' then v_wish.created_at
            else coalesce(v.created_at, v_wish.created_at)
        end,
        'started_at', case when v_state <> 'pending' then v.started_at end,
        'error_class', case when v_state = 'failed' then coalesce(v.error_class, 'abandoned') end,
        'retry_after_ms', case
            when v_state = 'failed' then greatest(ceil(extract(epoch from v.retry_at - v_now) * 1000), 0)::bigint else 0
        end,
        'entry', case
            when v_state = 'completed' then (
                select to_jsonb(s)
                from copperplate.cache_entries as e
                cross join lateral copperplate.stored(e.key) as s
                where e.generation_key = p_generation_key and e.is_original
            )
        end,
        'is_led', v_state in ('pending', 'generating') and (
            coalesce(v.status in ('pending', 'generating') and v.lease_until > v_now, false)
            or exists (
                select from copperplate.wishes as w
                where w.generation_key = p_generation_key and w.status = 'open' and w.held_until > v_now
            )
        ),
        -- Of many rows: whoever looks again and again asks for it once.
        'usual_ms', case
            when p_with_usual
                then copperplate.usual_ms(coalesce(v.kind, v_wish.kind), coalesce(v.model, v_wish.recipe ->> 'model'))
        end
    );
end;
$$$statement$,
$statement$comment on function public.get_generation_state(text, boolean) is
'What callers are told of a generation, also of one that an open wish waits for: {generation_key, kind, state,
created_at, started_at, error_class, retry_after_ms, entry (the original''s), is_led (somebody is at work on it),
usual_ms (asked for by p_with_usual)}; null where neither is known.'$statement$,
$statement$revoke all on function public.get_generation_state(text, boolean) from public, anon, authenticated$statement$,
$statement$grant execute on function public.get_generation_state(text, boolean) to service_role$statement$,
$statement$create function public.get_stored_keys(p_generation_keys text[])
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(g.prompt_hash), '[]')
    from public.generation_status as g
    where g.prompt_hash = any(p_generation_keys) and g.status = 'completed';
$$$statement$,
$statement$comment on function public.get_stored_keys(text[]) is 'Those of these generations whose original is stored.'$statement$,
$statement$revoke all on function public.get_stored_keys(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function public.get_stored_keys(text[]) to service_role$statement$,
$statement$create function public.get_popular_recipes(p_days integer, p_limit integer)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_since timestamptz := copperplate.clock() - make_interval(days => p_days);
begin
    -- Requests are counted since the generation's row was made, not by day: of what was asked for in these days, what
    -- was asked for most comes first.
    return (
        select coalesce(jsonb_agg(p.recipe order by p.total_requests desc, p.prompt_hash), '[]')
        from (
            select g.prompt_hash, g.recipe, g.total_requests
            from public.generation_status as g
            where
                g.total_requests > 0
                and (
                    g.updated_at >= v_since
                    or exists (
                        select from copperplate.cache_entries as e
                        where e.generation_key = g.prompt_hash and e.access_count > 0 and e.last_accessed_at >= v_since
                    )
                )
            order by g.total_requests desc, g.prompt_hash
            limit p_limit
        ) as p
    );
end;
$$$statement$,
$statement$comment on function public.get_popular_recipes(integer, integer) is
'At most p_limit recipes of pictures that were asked for in the last p_days, those with most requests first.'$statement$,
$statement$revoke all on function public.get_popular_recipes(integer, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function public.get_popular_recipes(integer, integer) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000863', 'create_event_tokens', array[
$statement$-- Who may watch a generation or a batch that is not told to everybody. A browser sends no header with a stream of
-- events: its address has a token, and the ledger its digest.
create table copperplate.event_tokens (
    -- The key of a generation, or the id of a batch.
    subject text not null,
    -- SHA-256 of the token.
    digest text not null,
    expires_at timestamptz not null,
    constraint event_tokens_pkey primary key (subject, digest),
    constraint event_tokens_subject_is_key_or_batch check (
        subject ~ '^([0-9a-f]{64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$'
    ),
    constraint event_tokens_digest_is_sha256 check (digest ~ '^[0-9a-f]{64}$')
)$statement$,
$statement$create index event_tokens_expires_idx on copperplate.event_tokens (expires_at)$statement$,
$statement$comment on table copperplate.event_tokens is
'Digests of tokens that permit to watch one generation or batch for some minutes.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.event_tokens enable row level security$statement$,
$statement$revoke all on table copperplate.event_tokens from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.event_tokens to service_role$statement$,
$statement$create function public.begin_watch(p_subject text, p_digest text, p_valid_for interval)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    insert into copperplate.event_tokens (subject, digest, expires_at)
    values (p_subject, p_digest, copperplate.clock() + p_valid_for)
    on conflict (subject, digest) do update set expires_at = excluded.expires_at;
$$$statement$,
$statement$comment on function public.begin_watch(text, text, interval) is
'Keep the SHA-256 of a token that permits to watch this generation or batch for p_valid_for.'$statement$,
$statement$revoke all on function public.begin_watch(text, text, interval) from public, anon, authenticated$statement$,
$statement$grant execute on function public.begin_watch(text, text, interval) to service_role$statement$,
$statement$create function public.may_watch(p_subject text, p_digest text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select exists (
        select from copperplate.event_tokens as t
        where t.subject = p_subject and t.digest = p_digest and t.expires_at > copperplate.clock()
    );
$$$statement$,
$statement$comment on function public.may_watch(text, text) is
'Whether a token with this SHA-256 permits to watch this generation or batch now.'$statement$,
$statement$revoke all on function public.may_watch(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.may_watch(text, text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000864', 'create_warmed_pictures', array[
$statement$-- What warming was good for.
create view public.warmed_pictures
with (security_invoker = true)
as
select distinct on (w.generation_key)
    w.generation_key as prompt_hash,
    w.kind,
    w.recipe ->> 'prompt' as prompt,
    w.settled_at as warmed_at,
    (w.spending ->> 'amount_micro_usd')::bigint as estimate_micro_usd,
    -- Served without a call, of pictures that were made since: also where a cleanup removed the picture.
    coalesce(
        (
            select sum(s.saved)
            from copperplate.submits as s
            where s.generation_key = w.generation_key and s.sent_at >= w.created_at
        ),
        0
    )::bigint as requests_since
from copperplate.batches as b
inner join copperplate.wishes as w on b.id = w.batch_id
where b.purpose = 'warm' and w.status = 'completed' and not w.cached
-- A run that was killed and run again wished for the same picture twice: the first wish had it made.
order by w.generation_key, w.created_at, w.id$statement$,
$statement$comment on view public.warmed_pictures is
'Pictures that were made by warming in the last 90 days, what each was estimated to cost in millionths of a dollar, and
how often it was asked for since.'$statement$,
$statement$revoke all on table public.warmed_pictures from public, anon, authenticated, service_role$statement$,
$statement$grant select on table public.warmed_pictures to service_role$statement$,
$statement$create function public.get_warming_stats()
returns table (
    pictures bigint,
    asked_for bigint,
    requests bigint,
    estimated_micro_usd bigint,
    unused_micro_usd bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select
        count(*),
        count(*) filter (where p.requests_since > 0),
        coalesce(sum(p.requests_since), 0)::bigint,
        coalesce(sum(p.estimate_micro_usd), 0)::bigint,
        coalesce(sum(p.estimate_micro_usd) filter (where p.requests_since = 0), 0)::bigint
    from public.warmed_pictures as p;
$$$statement$,
$statement$comment on function public.get_warming_stats() is
'How many pictures warming made in the last 90 days, how many of them were asked for since and how often, and what all
of them, and those that nobody asked for, were estimated to cost in millionths of a dollar.'$statement$,
$statement$revoke all on function public.get_warming_stats() from public, anon, authenticated$statement$,
$statement$grant execute on function public.get_warming_stats() to service_role$statement$
]);

select pg_temp.apply_migration('20261120000865', 'create_wish_retention', array[
$statement$-- How long wishes, batches and tokens are kept.

create function copperplate.forget_old_wishes(p_limit integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
begin
    perform copperplate.abandon_wishes(p_limit);
    delete from copperplate.wishes as w
    where w.id = any(array(
        select o.id
        from copperplate.wishes as o
        where o.forget_at is not null and o.batch_id is null and o.forget_at <= v_now
        order by o.forget_at
        limit p_limit
        for update skip locked
    ));
    -- Whole, so that its counts and the order of its members hold for as long as it is known: a thousand rows at most.
    delete from copperplate.batches as b
    where b.id = any(array(
        select o.id
        from copperplate.batches as o
        where
            o.created_at <= v_now - interval '7 days'
            and not exists (
                select from copperplate.wishes as w
                where w.batch_id = o.id and (w.forget_at is null or w.forget_at > v_now)
            )
        order by o.created_at
        limit greatest(p_limit / 100, 1)
        for update skip locked
    ));
    delete from copperplate.event_tokens as t
    where (t.subject, t.digest) in (
        select o.subject, o.digest
        from copperplate.event_tokens as o
        where o.expires_at <= v_now
        order by o.expires_at
        limit p_limit
        for update skip locked
    );
end;
$$$statement$,
$statement$comment on function copperplate.forget_old_wishes(integer) is
'Fail wishes that stayed open for a day; remove single ones that are settled long enough, batches whole whose members
all are, and tokens that expired: at most p_limit of each, and of batches a hundredth.'$statement$,
$statement$revoke all on function copperplate.forget_old_wishes(integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.forget_old_wishes(integer) to service_role$statement$,
$statement$create function copperplate.forget_wishes_of(p_user uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_owner text := 'user:' || p_user;
begin
    with removed as (
        delete from copperplate.wishes as w
        where w.owner = v_owner and w.owner like 'user:%'
        returning w.generation_key
    ),

    gone as (
        delete from copperplate.batches as b
        where b.owner = v_owner
        returning b.id
    )

    delete from copperplate.event_tokens as t
    using (
        select r.generation_key as subject from removed as r
        union all
        select g.id::text from gone as g
    ) as s
    where t.subject = s.subject;
end;
$$$statement$,
$statement$comment on function copperplate.forget_wishes_of(uuid) is
'Remove the wishes and batches of a user, and the tokens to watch them.'$statement$,
$statement$revoke all on function copperplate.forget_wishes_of(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.forget_wishes_of(uuid) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000866', 'create_source_pictures', array[
$statement$-- Pictures that somebody brought to be processed, by the digest of their bytes as they came, and who had those bytes.
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
) with (fillfactor = 80)$statement$,
$statement$create index source_pictures_parent_idx on copperplate.source_pictures (parent_key) where parent_key is not null$statement$,
$statement$create index source_pictures_parent_source_idx
on copperplate.source_pictures (parent_source)
where parent_source is not null$statement$,
$statement$create index source_pictures_last_used_idx on copperplate.source_pictures (last_used_at)$statement$,
$statement$comment on table copperplate.source_pictures is
'One row per picture that was brought to be processed, by the SHA-256 of its bytes as they came.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.source_pictures enable row level security$statement$,
$statement$revoke all on table copperplate.source_pictures from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.source_pictures to service_role$statement$,
$statement$create table copperplate.source_owners (
    digest text not null,
    -- As budgets name payers: key:<id> or user:<id>.
    owner text not null,
    created_at timestamptz not null,
    constraint source_owners_pkey primary key (digest, owner),
    constraint source_owners_digest_fkey foreign key (digest)
    references copperplate.source_pictures (digest) on delete cascade,
    constraint source_owners_owner_is_named check (owner ~ '^(key|user):.{1,100}$')
)$statement$,
$statement$create index source_owners_owner_idx on copperplate.source_owners (owner)$statement$,
$statement$comment on table copperplate.source_owners is
'Who had the bytes of a source picture: they alone are told where its results are.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.source_owners enable row level security$statement$,
$statement$revoke all on table copperplate.source_owners from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.source_owners to service_role$statement$,
$statement$create function copperplate.source_is_taken_down(p_digest text)
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
$$$statement$,
$statement$comment on function copperplate.source_is_taken_down(text) is
'Whether there is a tombstone of a source picture, by its digest, or of any picture that it comes from.'$statement$,
$statement$revoke all on function copperplate.source_is_taken_down(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.source_is_taken_down(text) to service_role$statement$,
$statement$create function copperplate.owns_alone(p_digest text, p_owner text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(bool_and(o.owner = p_owner), false)
    from copperplate.source_owners as o
    where o.digest = p_digest;
$$$statement$,
$statement$comment on function copperplate.owns_alone(text, text) is
'Whether p_owner had the bytes of a source picture, and nobody else with a name.'$statement$,
$statement$revoke all on function copperplate.owns_alone(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.owns_alone(text, text) to service_role$statement$,
$statement$create function public.find_source(p_digest text, p_owner text default null)
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
$$$statement$,
$statement$comment on function public.find_source(text, text) is
'What is known of the source picture with that SHA-256, and whether p_owner had its bytes, alone or with others; null
where it is unknown.'$statement$,
$statement$revoke all on function public.find_source(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.find_source(text, text) to service_role$statement$,
$statement$create function public.note_source(
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
$$$statement$,
$statement$comment on function public.note_source(text, text, integer, integer, bigint, text, text, integer[]) is
'Note a source picture, and that p_owner had its bytes; nobody for null, nor a user who was forgotten. Where no parent
is known yet, one is noted: the picture whose very bytes these are; a rectangle of p_parent_key only of bytes that nobody
but p_owner had, and until another owner brings them. Answers as find_source does, with a clean copy only if it outlives a wish that is made now.'$statement$,
$statement$revoke all on function public.note_source(text, text, integer, integer, bigint, text, text, integer[])
from public, anon, authenticated$statement$,
$statement$grant execute on function public.note_source(text, text, integer, integer, bigint, text, text, integer[])
to service_role$statement$,
$statement$create function public.find_results(p_digest text)
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
$$$statement$,
$statement$comment on function public.find_results(text) is
'Every stored result of the source picture with that SHA-256, the newest first: operation, generation_key, model,
parameters and created_at of each.'$statement$,
$statement$revoke all on function public.find_results(text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.find_results(text) to service_role$statement$,
$statement$create function public.may_see_processed(p_generation_key text, p_owner text)
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
$$$statement$,
$statement$comment on function public.may_see_processed(text, text) is
'Whether p_owner (key:<id> or user:<id>) had the bytes that this processed picture is made from.'$statement$,
$statement$revoke all on function public.may_see_processed(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.may_see_processed(text, text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000867', 'create_processed_keys', array[
$statement$-- Keys of processed pictures: the same as the Python module `recipes.processed` gives.

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
$$$statement$,
$statement$comment on function public.processed_cache_key(text, text, text, text[], text[]) is
'The key of a processed picture: processed_image_cache.generation_hash.

p_source is the SHA-256 of the source picture''s bytes as they came; p_parameters has every parameter of the model, also
those left at their defaults, as name=value in their one spelling. Raises ZC001 for what names no processed picture.'$statement$,
$statement$revoke all on function public.processed_cache_key(text, text, text, text[], text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function public.processed_cache_key(text, text, text, text[], text[]) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000868', 'create_source_retention', array[
$statement$-- How long source pictures are known, and who had their bytes.

create function copperplate.lock_old_sources(p_cutoff timestamptz, p_limit integer)
returns text[]
language sql
volatile
security invoker
set search_path = ''
as $$
    select array(
        select s.digest
        from copperplate.source_pictures as s
        where
            s.last_used_at < p_cutoff
            -- Lineage goes through it, also where the generation between grew old: what came of it goes first.
            and not exists (
                select from copperplate.source_pictures as c
                where c.parent_source = s.digest and c.digest <> s.digest and c.last_used_at < p_cutoff
            )
        order by s.last_used_at
        limit p_limit
        for update skip locked
    );
$$$statement$,
$statement$comment on function copperplate.lock_old_sources(timestamptz, integer) is
'Lock at most p_limit source pictures that were not used since p_cutoff, nothing that came of which is as old.'$statement$,
$statement$revoke all on function copperplate.lock_old_sources(timestamptz, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.lock_old_sources(timestamptz, integer) to service_role$statement$,
$statement$create function copperplate.source_used_at(p_digest text, p_cutoff timestamptz)
returns timestamptz
language sql
stable
security invoker
set search_path = ''
as $$
    select max(u.used_at)
    from (
        -- What is old, pinned, or being made is looked at again a day later.
        select greatest(e.last_accessed_at, p_cutoff + interval '1 day') as used_at
        from public.generation_status as g
        left join copperplate.cache_entries as e on g.prompt_hash = e.generation_key
        where g.kind = 'processed' and g.recipe ->> 'source' = p_digest
        union all
        select c.last_used_at
        from copperplate.source_pictures as c
        where c.parent_source = p_digest and c.digest <> p_digest
    ) as u;
$$$statement$,
$statement$comment on function copperplate.source_used_at(text, timestamptz) is
'When what was made of a source picture was last used, results and what came of these; null where there is nothing.'$statement$,
$statement$revoke all on function copperplate.source_used_at(text, timestamptz) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.source_used_at(text, timestamptz) to service_role$statement$,
$statement$create function copperplate.forget_old_sources(p_cutoff timestamptz, p_limit integer)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- A wish waits for a day at most, and needs the row of its source.
    v_cutoff timestamptz := least(p_cutoff, copperplate.clock() - interval '2 days');
    v_looked_at integer := 0;
    v_keys text[];
begin
    while v_looked_at < p_limit loop
        v_keys := copperplate.lock_old_sources(v_cutoff, p_limit - v_looked_at);
        exit when cardinality(v_keys) = 0;
        v_looked_at := v_looked_at + cardinality(v_keys);
        -- It was used when what came of it was, and is not looked at again before that is old.
        update copperplate.source_pictures as s
        set last_used_at = u.used_at
        from unnest(v_keys) as k (digest)
        cross join lateral copperplate.source_used_at(k.digest, v_cutoff) as u (used_at)
        where s.digest = k.digest and u.used_at is not null;
        delete from copperplate.source_pictures as s where s.digest = any(v_keys) and s.last_used_at < v_cutoff;
    end loop;
    return v_looked_at;
end;
$$$statement$,
$statement$comment on function copperplate.forget_old_sources(timestamptz, integer) is
'Forget source pictures of which nothing is made, and that were not used since p_cutoff, two days ago at least, the last
of a lineage first. At most p_limit are looked at; answers how many were.'$statement$,
$statement$revoke all on function copperplate.forget_old_sources(timestamptz, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.forget_old_sources(timestamptz, integer) to service_role$statement$,
$statement$create function copperplate.forget_sources_of(p_user uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_owner text := 'user:' || p_user;
begin
    -- A cleanup passes over them: it and this would wait for each other's rows.
    perform
    from copperplate.source_pictures as s
    where s.digest in (select o.digest from copperplate.source_owners as o where o.owner = v_owner)
    order by s.digest
    for key share;
    delete from copperplate.source_owners as o where o.owner = v_owner;
end;
$$$statement$,
$statement$comment on function copperplate.forget_sources_of(uuid) is
'Take a user''s name off every source picture whose bytes they had.'$statement$,
$statement$revoke all on function copperplate.forget_sources_of(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.forget_sources_of(uuid) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000869', 'create_lineage', array[
$statement$-- Where pictures come from, and what was made from them. Lineage goes through the bytes:
--
--   generation ──(its bytes, or a rectangle of them)──► source picture ──(recipe.source)──► generation
--
-- A generation has one source picture and that has one parent, so what is above is a line, and what is below a tree. A
-- parent that would close a circle is not noted, unless two are noted at the same moment: every walk here meets each
-- digest once, or ends at a depth.

create function copperplate.hold_lineage()
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    select pg_advisory_xact_lock_shared(hashtextextended('copperplate lineage', 0));
$$$statement$,
$statement$comment on function copperplate.hold_lineage() is
'Until the transaction ends, no takedown looks for descendants: what it makes known, a parent or a generation from a
source picture, is seen by the next one. Taken before any row is locked; waits for a takedown under way.'$statement$,
$statement$revoke all on function copperplate.hold_lineage() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.hold_lineage() to service_role$statement$,
$statement$create function copperplate.close_lineage()
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    select pg_advisory_xact_lock(hashtextextended('copperplate lineage', 0));
$$$statement$,
$statement$comment on function copperplate.close_lineage() is
'Wait for all who hold the lineage, and until the transaction ends let nobody add to it.'$statement$,
$statement$revoke all on function copperplate.close_lineage() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.close_lineage() to service_role$statement$,
$statement$create view public.picture_lineage
with (security_invoker = true)
as
select
    g.prompt_hash as key,
    g.kind,
    g.recipe ->> 'operation' as operation,
    g.model,
    g.recipe ->> 'source' as image_hash,
    s.parent_key,
    s.relation,
    s.crop,
    (
        select coalesce(sum(e.file_size), 0)::bigint
        from copperplate.cache_entries as e
        where e.generation_key = g.prompt_hash
    ) as bytes,
    g.pinned_at is not null as is_pinned,
    g.created_at
from public.generation_status as g
left join copperplate.source_pictures as s on g.kind = 'processed' and g.recipe ->> 'source' = s.digest$statement$,
$statement$comment on view public.picture_lineage is
'One row per generation: what it was made from (image_hash, the SHA-256 of the source picture), and the generation whose
picture that is: the same bytes, or cropped from it by a rectangle (left, top, width, height in px) that was declared.'$statement$,
$statement$revoke all on table public.picture_lineage from public, anon, authenticated, service_role$statement$,
$statement$grant select on table public.picture_lineage to service_role$statement$,
$statement$create function copperplate.names_below(p_names text[])
returns setof text
language sql
stable
security invoker
set search_path = ''
as $$
    -- A name is the key of a generation, or the digest of bytes.
    with recursive below (name) as (
        select unnest(p_names)
        union
        select n.name
        from below as b
        cross join lateral (
            select s.digest as name from copperplate.source_pictures as s where s.parent_key = b.name
            union all
            -- What came from a generation that grew old is found all the same.
            select s.digest from copperplate.source_pictures as s where s.parent_source = b.name
            union all
            select g.prompt_hash
            from public.generation_status as g
            where g.kind = 'processed' and g.recipe ->> 'source' = b.name
            union all
            -- Its own bytes, which somebody may bring as a file.
            select e.digest from copperplate.cache_entries as e where e.generation_key = b.name
        ) as n
    )

    select b.name from below as b;
$$$statement$,
$statement$comment on function copperplate.names_below(text[]) is
'Of generations, by their keys, and of bytes, by their digests: themselves, and the keys and digests of all that was
made from them in any number of steps.'$statement$,
$statement$revoke all on function copperplate.names_below(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.names_below(text[]) to service_role$statement$,
$statement$create function copperplate.bytes_below(p_keys text[], p_digests text[])
returns setof text
language sql
stable
security invoker
set search_path = ''
as $$
    -- That neither is null is what the index asks to hear: an empty list would not say so.
    select s.digest
    from copperplate.source_pictures as s
    where s.parent_key is not null and s.parent_key = any(p_keys)
    union
    -- What came from a generation that grew old is found all the same.
    select s.digest
    from copperplate.source_pictures as s
    where s.parent_source is not null and s.parent_source = any(p_digests)
    union
    -- Their own bytes, which somebody may bring as a file.
    select e.digest from copperplate.cache_entries as e where e.generation_key = any(p_keys);
$$$statement$,
$statement$comment on function copperplate.bytes_below(text[], text[]) is
'The digests of what came, in one step, of these generations and of what was made from these bytes.'$statement$,
$statement$revoke all on function copperplate.bytes_below(text[], text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.bytes_below(text[], text[]) to service_role$statement$,
$statement$create function copperplate.generations_below(p_keys text[], p_depth integer default 2147483647)
returns table (key text, depth integer)
language plpgsql
stable
rows 20
security invoker
set search_path = ''
as $$
declare
    v_keys text[] := p_keys;
    v_digests text[] := array[]::text[];
    v_met text[] := p_keys;
    v_met_digests text[] := array[]::text[];
begin
    -- A level at a time, as there may be as many keys as there are pictures.
    for v_depth in 1..p_depth loop
        v_digests := array(
            select b.digest from copperplate.bytes_below(v_keys, v_digests) as b (digest)
            except
            select unnest(v_met_digests)
        );
        exit when cardinality(v_digests) = 0;
        v_keys := array(
            select n.prompt_hash
            from unnest(v_digests) as d (digest)
            cross join lateral (
                select g.prompt_hash
                from public.generation_status as g
                where g.kind = 'processed' and g.recipe ->> 'source' = d.digest
                -- One by one: Postgres uses no statistics of an index over a part of a table, and would read all of it.
                offset 0
            ) as n
            except
            select unnest(v_met)
        );
        v_met := v_met || v_keys;
        v_met_digests := v_met_digests || v_digests;
        return query select k.key, v_depth from unnest(v_keys) as k (key);
    end loop;
end;
$$$statement$,
$statement$comment on function copperplate.generations_below(text[], integer) is
'The keys of all generations that were made from these, without these themselves, each with the fewest steps that lead
to it, p_depth at most.'$statement$,
$statement$revoke all on function copperplate.generations_below(text[], integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.generations_below(text[], integer) to service_role$statement$,
$statement$create function copperplate.generations_above(p_key text, p_depth integer)
returns table (key text, depth integer)
language sql
stable
rows 10
security invoker
set search_path = ''
as $$
    with recursive above (key, digest, depth) as (
        select p_key, (select l.image_hash from public.picture_lineage as l where l.key = p_key), 0
        union
        select s.parent_key, s.parent_source, a.depth - 1
        from above as a
        inner join copperplate.source_pictures as s on a.digest = s.digest
        where s.parent_key is not null and a.depth > -p_depth
    )

    select a.key, a.depth from above as a;
$$$statement$,
$statement$comment on function copperplate.generations_above(text, integer) is
'A generation, and what it was made from in at most p_depth steps: their depths are below 0.'$statement$,
$statement$revoke all on function copperplate.generations_above(text, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.generations_above(text, integer) to service_role$statement$,
$statement$create function copperplate.remove_made_from(p_digest text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_names text[] := array(select b.name from copperplate.names_below(array[p_digest]) as b (name));
    v_keys text[] := array(select g.prompt_hash from public.generation_status as g where g.prompt_hash = any(v_names));
begin
    perform from public.generation_status as g
    where g.prompt_hash = any(v_keys)
    order by g.prompt_hash
    for update;
    delete from public.generation_status as g where g.prompt_hash = any(v_keys);
    perform copperplate.discard_inputs(v_names);
end;
$$$statement$,
$statement$comment on function copperplate.remove_made_from(text) is
'Remove every generation that was made from these bytes, which turn out to be taken down, and every copy of what they
were made from.'$statement$,
$statement$revoke all on function copperplate.remove_made_from(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.remove_made_from(text) to service_role$statement$,
$statement$create function public.lineage_of(
    p_key text, p_limit integer default 1000, p_with_descendants boolean default true, p_owner text default null
)
returns table (
    key text,
    kind text,
    operation text,
    model text,
    image_hash text,
    parent_key text,
    relation text,
    crop integer[],
    bytes bigint,
    is_pinned boolean,
    created_at timestamptz,
    depth integer,
    is_owned boolean
)
language sql
stable
security invoker
set search_path = ''
as $$
    with asked (key) as (
        -- People hold the key of a picture, too.
        select coalesce((select e.generation_key from copperplate.cache_entries as e where e.key = p_key), p_key)
    ),

    -- Where a circle was noted the nearest counts.
    met as (
        select distinct on (m.key) m.key, m.depth
        from (
            select n.key, n.depth from asked as a cross join lateral copperplate.generations_above(a.key, 32) as n
            union all
            select n.key, n.depth
            from asked as a
            cross join lateral copperplate.generations_below(array[a.key], 32) as n
            where p_with_descendants
        ) as m
        order by m.key asc, abs(m.depth) asc, m.depth asc
    )

    select
        l.key, l.kind, l.operation, l.model, l.image_hash, l.parent_key, l.relation, l.crop, l.bytes, l.is_pinned,
        l.created_at, m.depth,
        exists (select from copperplate.source_owners as o where o.digest = l.image_hash and o.owner = p_owner)
    from met as m
    inner join public.picture_lineage as l on m.key = l.key
    order by m.depth asc, l.created_at asc, l.key asc
    limit least(p_limit, 1000);
$$$statement$,
$statement$comment on function public.lineage_of(text, integer, boolean, text) is
'A picture, by the key of its generation or its own, with what it was made from (depth below 0) and what was made from
it (above 0), the farthest ancestor first: at most 32 steps each way, and p_limit rows, 1,000. Without
p_with_descendants, what it was made from alone. is_owned: whether p_owner had the bytes that one was made from.'$statement$,
$statement$revoke all on function public.lineage_of(text, integer, boolean, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.lineage_of(text, integer, boolean, text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000870', 'create_user_requests', array[
$statement$-- Requests of signed-in people, under an Idempotency-Key or to be answered later: for a day the same request gets the
-- same answer.
create table copperplate.user_requests (
    id bigint generated always as identity,
    account_id uuid not null,
    -- As the caller sent it; null for a caller that only comes back for its generation.
    idempotency_key text,
    generation_key text not null,
    -- What was delivered, less its address: that is made for each answer. Null until then.
    answer jsonb,
    created_at timestamptz not null,
    constraint user_requests_pkey primary key (id),
    constraint user_requests_account_fkey foreign key (account_id) references copperplate.accounts (id),
    constraint user_requests_idempotency_key unique (account_id, idempotency_key),
    constraint user_requests_idempotency_key_is_short check (length(idempotency_key) between 1 and 255)
)$statement$,
$statement$create index user_requests_generation_idx on copperplate.user_requests (account_id, generation_key)$statement$,
$statement$-- Requests without a key are all alike: one row for all of them.
create unique index user_requests_nameless_idx
on copperplate.user_requests (account_id, generation_key)
where idempotency_key is null$statement$,
$statement$create index user_requests_created_idx on copperplate.user_requests (created_at)$statement$,
$statement$comment on table copperplate.user_requests is
'Requests of signed-in people, kept for a day: their Idempotency-Key, and the answer that was delivered.
Row-level security is on without a policy: only service_role and the owner see rows.'$statement$,
$statement$alter table copperplate.user_requests enable row level security$statement$,
$statement$revoke all on table copperplate.user_requests from public, anon, authenticated, service_role$statement$,
$statement$grant select, insert, update, delete on table copperplate.user_requests to service_role$statement$,
$statement$create function public.begin_request(p_user uuid, p_generation_key text, p_idempotency_key text default null)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_account uuid;
    v_request copperplate.user_requests;
begin
    v_account := copperplate.open_account(p_user);

    if p_idempotency_key is null then
        insert into copperplate.user_requests (account_id, generation_key, created_at)
        values (v_account, p_generation_key, v_now)
        on conflict (account_id, generation_key) where idempotency_key is null do update
        set created_at = excluded.created_at;
        return jsonb_build_object('is_conflict', false, 'answer', null);
    end if;

    -- A day later the key is free again.
    delete from copperplate.user_requests as q
    where
        q.account_id = v_account and q.idempotency_key = p_idempotency_key
        and q.created_at < v_now - interval '1 day';
    insert into copperplate.user_requests (account_id, idempotency_key, generation_key, created_at)
    values (v_account, p_idempotency_key, p_generation_key, v_now)
    on conflict (account_id, idempotency_key) do nothing;
    select q.* into v_request
    from copperplate.user_requests as q
    where q.account_id = v_account and q.idempotency_key = p_idempotency_key;
    return jsonb_build_object(
        'is_conflict', coalesce(v_request.generation_key <> p_generation_key, false), 'answer', v_request.answer
    );
end;
$$$statement$,
$statement$comment on function public.begin_request(uuid, text, text) is
'Record that a user requests a generation: is_conflict where the key stands for another generation, answer where it was
delivered before.'$statement$,
$statement$revoke all on function public.begin_request(uuid, text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.begin_request(uuid, text, text) to service_role$statement$,
$statement$create function public.deliver_generation(
    p_user uuid, p_generation_key text, p_answer jsonb, p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_account copperplate.accounts;
    v_answer jsonb;
    v_kept jsonb;
begin
    select a.* into v_account from copperplate.accounts as a where a.user_id = p_user;
    update copperplate.reservations as r
    set delivered_at = copperplate.clock()
    where
        r.account_id = v_account.id and r.generation_key = p_generation_key
        and r.state = 'settled' and r.delivered_at is null;

    v_answer := p_answer || jsonb_build_object(
        'credits', coalesce(v_account.balance - v_account.held + copperplate.lapsed_credits(v_account.id), 0)
    );
    if p_idempotency_key is not null then
        -- The first answer stands: every request with this key gets that one.
        update copperplate.user_requests as q
        set answer = coalesce(q.answer, v_answer)
        where
            q.account_id = v_account.id and q.idempotency_key = p_idempotency_key
            and q.generation_key = p_generation_key
        returning q.answer into v_kept;
    end if;
    -- Null where the request is forgotten by now, as its user may be.
    return coalesce(v_kept, v_answer);
end;
$$$statement$,
$statement$comment on function public.deliver_generation(uuid, text, jsonb, text) is
'The user is about to be told where the picture is: nothing is refunded from here on. Answers p_answer, which holds no
address, with the credits left, or what was answered before under the same Idempotency-Key.'$statement$,
$statement$revoke all on function public.deliver_generation(uuid, text, jsonb, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.deliver_generation(uuid, text, jsonb, text) to service_role$statement$,
$statement$create function public.is_requested_by(p_user uuid, p_generation_key text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select
        exists (
            select from copperplate.accounts as a
            where
                a.user_id = p_user
                and (
                    exists (
                        select from copperplate.user_requests as q
                        where q.account_id = a.id and q.generation_key = p_generation_key
                    )
                    or exists (
                        select from copperplate.reservations as r
                        where r.account_id = a.id and r.generation_key = p_generation_key
                    )
                )
        )
        -- The second condition is the index's.
        or exists (
            select from copperplate.wishes as w
            where w.owner = 'user:' || p_user and w.owner like 'user:%' and w.generation_key = p_generation_key
        );
$$$statement$,
$statement$comment on function public.is_requested_by(uuid, text) is
'Whether this user requested this generation, alone or in a batch, or paid for it: nobody else is told of it.'$statement$,
$statement$revoke all on function public.is_requested_by(uuid, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.is_requested_by(uuid, text) to service_role$statement$,
$statement$create function copperplate.forget_old_requests(p_limit integer)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_accounts uuid[];
    v_forgotten integer;
begin
    with old as (
        select q.id
        from copperplate.user_requests as q
        where q.created_at < copperplate.clock() - interval '1 day'
        limit p_limit
        for update skip locked
    ),

    gone as (
        delete from copperplate.user_requests as q
        using old as o
        where q.id = o.id
        returning q.account_id
    )

    select array_agg(distinct g.account_id), count(*) into v_accounts, v_forgotten
    from gone as g;

    -- An account that a request alone opened goes with its last request. A token outlives its user by up to an hour:
    -- what it opens after the user was forgotten does not stay. Locked before the next statement looks: a request that
    -- has just begun holds the account.
    v_accounts := array(
        select a.id
        from copperplate.accounts as a
        where a.id = any(v_accounts) and a.balance = 0 and a.held = 0
        for update skip locked
    );
    delete from copperplate.accounts as a
    where
        a.id = any(v_accounts)
        and not exists (select from copperplate.user_requests as q where q.account_id = a.id)
        and not exists (select from copperplate.reservations as r where r.account_id = a.id)
        and not exists (select from copperplate.credit_ledger as l where l.account_id = a.id);
    return v_forgotten;
end;
$$$statement$,
$statement$comment on function copperplate.forget_old_requests(integer) is
'Remove requests older than a day, at most p_limit, and accounts without anything else; answers how many requests.'$statement$,
$statement$revoke all on function copperplate.forget_old_requests(integer) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.forget_old_requests(integer) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000871', 'create_purge_of_children', array[
$statement$-- What a purge with children removes, and what its dry run shows of it.

create function copperplate.find_children(
    p_keys text[], p_with_pinned boolean, out keys text[], out pinned bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select
        coalesce(
            array_agg(g.prompt_hash order by b.depth desc, g.prompt_hash asc)
            filter (where p_with_pinned or g.pinned_at is null),
            '{}'
        ),
        count(*) filter (where not p_with_pinned and g.pinned_at is not null)
    from copperplate.generations_below(p_keys) as b
    inner join public.generation_status as g on b.key = g.prompt_hash;
$$$statement$,
$statement$comment on function copperplate.find_children(text[], boolean) is
'All that was made from these generations, in any number of steps, the most steps first. Pinned ones are only counted,
unless they are meant.'$statement$,
$statement$revoke all on function copperplate.find_children(text[], boolean) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.find_children(text[], boolean) to service_role$statement$,
$statement$create function copperplate.tree_of(p_children text[])
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(to_jsonb(n)), '[]')
    from (
        select l.key, l.kind, l.operation, l.parent_key, l.bytes
        from (
            select unnest(p_children)
            union
            select s.parent_key
            from public.generation_status as g
            inner join copperplate.source_pictures as s on g.recipe ->> 'source' = s.digest
            where g.kind = 'processed' and g.prompt_hash = any(p_children)
        ) as shown (key)
        inner join public.picture_lineage as l on shown.key = l.key
        order by l.created_at asc, l.key asc
        -- To be shown to a person.
        limit 200
    ) as n;
$$$statement$,
$statement$comment on function copperplate.tree_of(text[]) is
'The first 200 of these pictures and of those that they were made from, [{key, kind, operation, parent_key, bytes}].'$statement$,
$statement$revoke all on function copperplate.tree_of(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.tree_of(text[]) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000872', 'create_source_parents', array[
$statement$-- Where a source picture comes from: found by its bytes, or told.

create function copperplate.comes_from(p_digest text, p_origin text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    with recursive above (digest) as (
        select p_digest
        union
        select s.parent_source
        from above as a
        inner join copperplate.source_pictures as s on a.digest = s.digest
    )

    select exists (select from above as a where a.digest = p_origin);
$$$statement$,
$statement$comment on function copperplate.comes_from(text, text) is
'Whether bytes are those of p_origin, or come from them in any number of steps.'$statement$,
$statement$revoke all on function copperplate.comes_from(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.comes_from(text, text) to service_role$statement$,
$statement$create function copperplate.parent_of(p_digest text, p_parent_key text, p_crop integer[], p_is_told boolean)
returns table (key text, source text, crop integer[])
language sql
stable
security invoker
set search_path = ''
as $$
    select f.key, g.recipe ->> 'source', f.crop
    from (
        select 1 as rank, p_parent_key as key, null::integer[] as crop, null::timestamptz as created_at
        where p_parent_key is not null and p_crop is null
        union all
        select 2, e.generation_key, null, e.created_at
        from copperplate.cache_entries as e
        where e.digest = p_digest
        union all
        select 3, p_parent_key, p_crop, null
        where p_parent_key is not null and p_crop is not null and p_is_told
    ) as f
    left join public.generation_status as g on f.key = g.prompt_hash and g.kind = 'processed'
    where not copperplate.comes_from(g.recipe ->> 'source', p_digest)
    order by f.rank asc, f.created_at asc, f.key asc
    limit 1;
$$$statement$,
$statement$comment on function copperplate.parent_of(text, text, integer[], boolean) is
'The generation whose picture these bytes are, told or found by their digest, before the one that they are said to be a
rectangle of, where that counts (p_is_told); none that was itself made from them.'$statement$,
$statement$revoke all on function copperplate.parent_of(text, text, integer[], boolean) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.parent_of(text, text, integer[], boolean) to service_role$statement$,
$statement$create function copperplate.note_parent(p_digest text, p_parent_key text, p_crop integer[], p_is_told boolean)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    update copperplate.source_pictures as s
    set
        parent_key = p.key, parent_source = p.source, crop = p.crop,
        relation = case when p.crop is null then 'same' else 'cropped' end
    from copperplate.parent_of(p_digest, p_parent_key, p_crop, p_is_told) as p
    -- What is proved stands in place of what was declared.
    where s.digest = p_digest and (s.parent_key is null or (s.relation = 'cropped' and p.crop is null));
$$$statement$,
$statement$comment on function copperplate.note_parent(text, text, integer[], boolean) is
'Note where a source picture comes from, as parent_of finds it, if nothing is known of that yet but a declared crop.'$statement$,
$statement$revoke all on function copperplate.note_parent(text, text, integer[], boolean) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.note_parent(text, text, integer[], boolean) to service_role$statement$,
$statement$create function copperplate.forget_declared(p_digest text, p_owner text)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    update copperplate.source_pictures as s
    set parent_key = null, parent_source = null, relation = null, crop = null
    where s.digest = p_digest and s.relation = 'cropped' and not copperplate.owns_alone(p_digest, p_owner);
$$$statement$,
$statement$comment on function copperplate.forget_declared(text, text) is
'Forget what the first owner declared a source picture to be cropped from, once others had its bytes: what one of them
declares must not take down what another made.'$statement$,
$statement$revoke all on function copperplate.forget_declared(text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.forget_declared(text, text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000873', 'create_kept_inputs', array[
$statement$-- Clean copies of source pictures in the store, for whoever makes what was promised of them.

create function public.keep_input(p_digest text, p_path text, p_kept_digest text, p_format text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- A takedown sees what is kept, or this sees the takedown.
    perform copperplate.hold_lineage();
    if copperplate.source_is_taken_down(p_digest) then
        perform copperplate.discard_object('processed', p_path, p_digest);
        return false;
    end if;
    update copperplate.source_pictures as s
    set
        kept_path = p_path, kept_digest = p_kept_digest, kept_format = p_format,
        kept_at = case when s.kept_path is distinct from p_path then copperplate.clock() else s.kept_at end
    where s.digest = p_digest;
    return found;
end;
$$$statement$,
$statement$comment on function public.keep_input(text, text, text, text) is
'Note that a clean copy of a source picture lies in the bucket of processed pictures; false where it is unknown, or
taken down: then the copy is to be removed.'$statement$,
$statement$revoke all on function public.keep_input(text, text, text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.keep_input(text, text, text, text) to service_role$statement$,
$statement$create function copperplate.discard_inputs(p_digests text[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform copperplate.discard_object('processed', s.kept_path, s.digest)
    from copperplate.source_pictures as s
    where s.digest = any(p_digests) and s.kept_path is not null;
    update copperplate.source_pictures as s
    set kept_path = null, kept_digest = null, kept_format = null, kept_at = null
    where s.digest = any(p_digests) and s.kept_path is not null;
end;
$$$statement$,
$statement$comment on function copperplate.discard_inputs(text[]) is
'Remove the clean copies of source pictures that are taken down. Whoever calls it holds the lineage.'$statement$,
$statement$revoke all on function copperplate.discard_inputs(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.discard_inputs(text[]) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000875', 'create_user_deletion', array[
$statement$-- Deletion of a user: no row names them afterwards, and every sum stays.

create function public.forget_user(p_user uuid)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_account uuid;
begin
    perform copperplate.note_forgotten('user:' || p_user);
    perform copperplate.forget_reserved('user:' || p_user);
    update copperplate.accounts as a set user_id = null where a.user_id = p_user
    returning a.id into v_account;
    delete from copperplate.user_requests as q where q.account_id = v_account;
    perform copperplate.forget_wishes_of(p_user);
    perform copperplate.forget_sources_of(p_user);
    perform copperplate.forget_budget('user:' || p_user);
    return v_account is not null;
end;
$$$statement$,
$statement$comment on function public.forget_user(uuid) is
'Take a user''s name off their account and off pictures they brought, and remove their requests, wishes and batches; the
ledger stays, of an account that is nobody''s. False where there is no such account. Their budget has no room from then
on, whatever token is still good. Runs by itself when a row of auth.users is deleted.'$statement$,
$statement$revoke all on function public.forget_user(uuid) from public, anon, authenticated$statement$,
$statement$grant execute on function public.forget_user(uuid) to service_role$statement$,
$statement$-- Deleted by Supabase Auth, whose role has no business in our schema: it runs with its owner's rights, and can do
-- nothing but forget that very user. Where it fails, so does the deletion, which can then be tried again: a deletion
-- that passed over the fault would leave a name here that nobody is ever going to take off.
create function copperplate.note_user_deleted()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform public.forget_user(old.id);
    return null;
end;
$$$statement$,
$statement$comment on function copperplate.note_user_deleted() is 'Forgets a user whom Supabase Auth deletes.'$statement$,
$statement$revoke all on function copperplate.note_user_deleted() from public, anon, authenticated, service_role$statement$,
$statement$-- A Postgres without Supabase Auth has no users of its own; there `forget_user` is called by whoever has them.
do $$
begin
    if to_regclass('auth.users') is null then
        return;
    end if;
    create trigger copperplate_user_deleted
    after delete on auth.users
    for each row execute function copperplate.note_user_deleted();
    -- Auth can also keep the row and mark it.
    create trigger copperplate_user_marked_deleted
    after update of deleted_at on auth.users
    for each row
    when (new.deleted_at is not null)
    execute function copperplate.note_user_deleted();
end
$$$statement$
]);

select pg_temp.apply_migration('20261120000880', 'create_image_cache', array[
$statement$-- Images as people know them: one row per prompt, size and format. Thin forms of what every kind has.
create function copperplate.payer_of(p_generation_key text)
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return coalesce(
        (
            -- Settled by the completion of this picture, not of one that was removed before.
            select 'user:' || a.user_id
            from public.generation_status as g
            inner join copperplate.reservations as r on g.prompt_hash = r.generation_key and g.completed_at <= r.closed_at
            inner join copperplate.accounts as a on r.account_id = a.id
            where g.prompt_hash = p_generation_key and r.state = 'settled'
        ),
        (
            select substring(n.name from '^(?:prepaid/)?((?:user|key):.*)$')
            from (
                select s.budgets
                from copperplate.submits as s
                where s.generation_key = p_generation_key
                order by s.id desc
                limit 1
            ) as m
            cross join lateral unnest(m.budgets) as n (name)
            where n.name ~ '^(prepaid/)?(user|key):'
        )
    );
end;
$$$statement$,
$statement$comment on function copperplate.payer_of(text) is
'Who paid for a picture, as user:<id> or key:<id>: the account that was charged, else what the book says of the submit
that made it. Null where that was a stranger, a user who was forgotten, or nobody.'$statement$,
$statement$revoke all on function copperplate.payer_of(text) from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.payer_of(text) to service_role$statement$,
$statement$create view public.image_cache
with (security_invoker = true)
as
select
    e.key as prompt_hash,
    e.generation_key as generation_hash,
    g.prompt,
    g.dimensions,
    e.format,
    g.model,
    e.access_count + coalesce(f.access_count, 0) as access_count,
    e.created_at,
    greatest(e.last_accessed_at, f.last_accessed_at) as last_accessed_at,
    e.file_size,
    e.path as object_path,
    e.digest,
    o.generation_ms,
    copperplate.payer_of(e.generation_key) as payer,
    o.file_size as original_file_size,
    (
        select w.file_size
        from copperplate.cache_entries as w
        where w.generation_key = e.generation_key and w.format = 'webp' and w.is_shown
    ) as webp_file_size,
    o.has_c2pa,
    e.thumbhash,
    e.color
from copperplate.shown_entries as e
inner join public.generation_status as g on e.generation_key = g.prompt_hash
left join copperplate.cache_entries as o on e.generation_key = o.generation_key and o.is_original
left join lateral (
    select
        sum(r.access_count)::bigint as access_count,
        max(r.last_accessed_at) filter (where r.access_count > 0) as last_accessed_at
    from copperplate.cache_entries as r
    where r.generation_key = e.generation_key and r.format = e.format and not r.is_shown and not r.is_original
) as f on true
where e.kind = 'image'$statement$,
$statement$comment on view public.image_cache is
'Cached pictures, one row per prompt, size and format; the uses of its other sizes and qualities are counted on it.
Deleting a row declares the picture wrong: its generation, every form of it and its original go.'$statement$,
$statement$revoke all on table public.image_cache from public, anon, authenticated, service_role$statement$,
$statement$grant select, delete on table public.image_cache to service_role$statement$,
$statement$create function copperplate.delete_picture()
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
$$$statement$,
$statement$comment on function copperplate.delete_picture() is 'Makes DELETE through a view remove the whole generation.'$statement$,
$statement$revoke all on function copperplate.delete_picture() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.delete_picture() to service_role$statement$,
$statement$create trigger image_cache_delete
instead of delete on public.image_cache
for each row execute function copperplate.delete_picture()$statement$,
$statement$create function public.cleanup_old_cache_entries(
    p_older_than interval default '30 days', p_limit integer default 1000, p_after text default null
)
returns jsonb
language sql
volatile
security invoker
set search_path = ''
as $$
    select jsonb_build_object('images', c.counts -> 'pictures') || (c.counts - array['pictures', 'archived'])
    from public.cleanup_entries('image', p_limit, p_after, p_older_than) as c (counts);
$$$statement$,
$statement$comment on function public.cleanup_old_cache_entries(interval, integer, text) is
'Remove cached pictures not served for p_older_than (30 days); at most p_limit generations a call; answers counts: rows
of image_cache as images, bytes of all forms. Call it again while bytes are more than zero. With p_after, empty at first,
it looks at p_limit entries from there on and answers where it has come to as reached, null at the end.'$statement$,
$statement$revoke all on function public.cleanup_old_cache_entries(interval, integer, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.cleanup_old_cache_entries(interval, integer, text) to service_role$statement$,
$statement$create function public.count_old_cache_entries(p_older_than interval default '30 days')
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object('images', c.counts -> 'pictures') || (c.counts - array['pictures', 'archived'])
    from public.count_old_entries('image', p_older_than) as c (counts);
$$$statement$,
$statement$comment on function public.count_old_cache_entries(interval) is
'What cleanup_old_cache_entries would remove by and by, as the same counts; changes nothing.'$statement$,
$statement$revoke all on function public.count_old_cache_entries(interval) from public, anon, authenticated$statement$,
$statement$grant execute on function public.count_old_cache_entries(interval) to service_role$statement$,
$statement$create function public.get_cache_stats()
returns table (
    total_cached_images bigint,
    total_access_count bigint,
    avg_access_count numeric,
    total_size_bytes bigint,
    total_stored_bytes bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select t.pictures, t.accesses, t.avg_accesses, t.size_bytes, t.stored_bytes
    from copperplate.sum_totals('image') as t;
$$$statement$,
$statement$comment on function public.get_cache_stats() is
'One row: cached images, how often they were served, and their bytes; stored bytes include originals.'$statement$,
$statement$revoke all on function public.get_cache_stats() from public, anon, authenticated$statement$,
$statement$grant execute on function public.get_cache_stats() to service_role, anon, authenticated$statement$
]);

select pg_temp.apply_migration('20261120000885', 'create_image_renditions', array[
$statement$-- The other forms of images: sizes and qualities beside those that image_cache shows.
create view public.image_renditions
with (security_invoker = true)
as
select
    e.key as prompt_hash,
    e.generation_key as generation_hash,
    g.prompt,
    g.dimensions,
    e.width,
    e.height,
    e.format,
    e.quality,
    g.model,
    e.access_count,
    e.created_at,
    e.last_accessed_at,
    e.file_size,
    e.path as object_path,
    e.digest,
    e.encoder_version
from copperplate.cache_entries as e
inner join public.generation_status as g on e.generation_key = g.prompt_hash
where e.kind = 'image' and not e.is_original and not e.is_shown$statement$,
$statement$comment on view public.image_renditions is
'Kept renditions of cached pictures in other sizes and qualities than image_cache shows, at most 64 of a picture.
Deleting a row removes that rendition alone; it is made again when it is asked for, and costs nothing.'$statement$,
$statement$revoke all on table public.image_renditions from public, anon, authenticated, service_role$statement$,
$statement$grant select, delete on table public.image_renditions to service_role$statement$,
$statement$create function copperplate.delete_rendition()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    -- Generation first, then entries: the one lock order.
    perform from public.generation_status as g where g.prompt_hash = old.generation_hash for no key update;
    delete from copperplate.cache_entries as e where e.key = old.prompt_hash;
    return old;
end;
$$$statement$,
$statement$comment on function copperplate.delete_rendition() is
'Makes DELETE through image_renditions remove that rendition alone.'$statement$,
$statement$revoke all on function copperplate.delete_rendition() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.delete_rendition() to service_role$statement$,
$statement$create trigger image_renditions_delete
instead of delete on public.image_renditions
for each row execute function copperplate.delete_rendition()$statement$
]);

select pg_temp.apply_migration('20261120000890', 'create_memoji_cache', array[
$statement$-- Memoji as people know them: one row per picture, which is its generation's original. Thin forms of what every kind
-- has.
create view public.memoji_cache
with (security_invoker = true)
as
select
    g.prompt_hash,
    g.recipe as configuration,
    g.model,
    g.dimensions,
    g.generated_url as image_url,
    e.access_count as usage_count,
    e.last_accessed_at as last_used_at,
    -- In dollars; null where the model has no price.
    round(copperplate.spent_micro_usd(g.prompt_hash) / 1000000.0, 6) as generation_cost,
    e.created_at,
    e.archived_at,
    e.file_size,
    e.path as object_path,
    e.digest,
    e.generation_ms,
    copperplate.payer_of(e.generation_key) as payer,
    w.path as webp_path,
    w.file_size as webp_file_size,
    e.has_c2pa,
    e.thumbhash,
    e.color
from copperplate.shown_entries as e
inner join public.generation_status as g on e.generation_key = g.prompt_hash
left join copperplate.cache_entries as w
    on e.generation_key = w.generation_key and w.format = 'webp' and not w.is_sized and w.quality = 85
where e.kind = 'memoji'$statement$,
$statement$comment on view public.memoji_cache is
'Cached memoji. generation_cost is in dollars, null where no price is known; archived_at marks those kept for good.
Deleting a row declares the picture wrong: it goes, with its object.'$statement$,
$statement$revoke all on table public.memoji_cache from public, anon, authenticated, service_role$statement$,
$statement$grant select, delete on table public.memoji_cache to service_role$statement$,
$statement$create trigger memoji_cache_delete
instead of delete on public.memoji_cache
for each row execute function copperplate.delete_picture()$statement$,
$statement$create function public.cleanup_old_memoji(
    p_older_than interval default '90 days',
    p_min_uses bigint default 2,
    p_archive_above bigint default 100,
    p_limit integer default 1000
)
returns jsonb
language sql
volatile
security invoker
set search_path = ''
as $$
    select jsonb_build_object('memoji', c.counts -> 'pictures') || (c.counts - array['pictures', 'generations'])
    from public.cleanup_entries('memoji', p_limit, null, p_older_than, p_min_uses, p_archive_above) as c (counts);
$$$statement$,
$statement$comment on function public.cleanup_old_memoji(interval, bigint, bigint, integer) is
'Archive memoji used more than p_archive_above times (100), remove those older than p_older_than (90 days) with fewer
than p_min_uses uses (2); at most p_limit of each a call; answers counts. Call it again while it answers more than zero.'$statement$,
$statement$revoke all on function public.cleanup_old_memoji(interval, bigint, bigint, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function public.cleanup_old_memoji(interval, bigint, bigint, integer) to service_role$statement$,
$statement$create function public.count_old_memoji(
    p_older_than interval default '90 days', p_min_uses bigint default 2, p_archive_above bigint default 100
)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object('memoji', c.counts -> 'pictures') || (c.counts - array['pictures', 'generations'])
    from public.count_old_entries('memoji', p_older_than, p_min_uses, p_archive_above) as c (counts);
$$$statement$,
$statement$comment on function public.count_old_memoji(interval, bigint, bigint) is
'What cleanup_old_memoji would remove and archive by and by, as the same counts; changes nothing.'$statement$,
$statement$revoke all on function public.count_old_memoji(interval, bigint, bigint) from public, anon, authenticated$statement$,
$statement$grant execute on function public.count_old_memoji(interval, bigint, bigint) to service_role$statement$,
$statement$create function public.get_memoji_stats()
returns table (
    total_memoji bigint,
    total_usage bigint,
    avg_usage numeric,
    total_size_bytes bigint,
    hits bigint,
    misses bigint,
    efficiency_percent numeric,
    spent_micro_usd bigint,
    saved_micro_usd bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select
        s.pictures, s.accesses, s.avg_accesses, s.size_bytes, s.hits, s.misses, s.efficiency_percent,
        s.spent_micro_usd, s.saved_micro_usd
    from public.get_kind_stats('memoji') as s;
$$$statement$,
$statement$comment on function public.get_memoji_stats() is
'One row: memoji kept, how often they were used, hits, misses, and money spent and saved in millionths of a dollar.'$statement$,
$statement$revoke all on function public.get_memoji_stats() from public, anon, authenticated$statement$,
$statement$grant execute on function public.get_memoji_stats() to service_role$statement$
]);

select pg_temp.apply_migration('20261120000892', 'create_processed_image_cache', array[
$statement$-- Processed pictures as people know them: one row per result, and one per picture that was brought. Thin forms of what
-- every kind has.
create view public.processed_image_cache
with (security_invoker = true)
as
select
    g.recipe ->> 'source' as image_hash,
    g.recipe ->> 'operation' as operation,
    e.path as result,
    e.created_at as timestamp,
    e.generation_key as generation_hash,
    g.model,
    g.recipe -> 'parameters' as parameters,
    g.dimensions,
    e.format,
    e.file_size,
    e.access_count,
    e.last_accessed_at,
    -- In dollars; null where the model has no price.
    round(copperplate.spent_micro_usd(g.prompt_hash) / 1000000.0, 6) as generation_cost,
    e.digest,
    e.generation_ms,
    copperplate.payer_of(e.generation_key) as payer,
    e.thumbhash,
    e.color
from copperplate.shown_entries as e
inner join public.generation_status as g on e.generation_key = g.prompt_hash
where g.kind = 'processed'$statement$,
$statement$comment on view public.processed_image_cache is
'Processed pictures, one row per result: image_hash is the SHA-256 of the picture that was brought, result the path of
the object in the bucket processed-images. generation_cost is in dollars, null where no price is known.
Deleting a row declares the result wrong: it goes, with its object.'$statement$,
$statement$revoke all on table public.processed_image_cache from public, anon, authenticated, service_role$statement$,
$statement$grant select, delete on table public.processed_image_cache to service_role$statement$,
$statement$create trigger processed_image_cache_delete
instead of delete on public.processed_image_cache
for each row execute function copperplate.delete_picture()$statement$,
$statement$create view public.processed_uploads
with (security_invoker = true)
as
select
    s.digest as image_hash,
    r.bg_removed,
    r.upscaled,
    r.face_detailed,
    r.timestamp,
    s.width,
    s.height,
    s.format,
    s.size_bytes as file_size,
    s.created_at as uploaded_at,
    s.last_used_at
from copperplate.source_pictures as s
cross join lateral (
    select
        (array_agg(e.path order by e.created_at desc, e.key asc) filter (
            where g.recipe ->> 'operation' = 'remove-background'
        ))[1] as bg_removed,
        (array_agg(e.path order by e.created_at desc, e.key asc) filter (
            where g.recipe ->> 'operation' = 'upscale'
        ))[1] as upscaled,
        (array_agg(e.path order by e.created_at desc, e.key asc) filter (
            where g.recipe ->> 'operation' = 'face-detail'
        ))[1] as face_detailed,
        max(e.created_at) as timestamp
    from public.generation_status as g
    inner join copperplate.cache_entries as e on g.prompt_hash = e.generation_key and e.is_original
    where g.kind = 'processed' and g.recipe ->> 'source' = s.digest
) as r$statement$,
$statement$comment on view public.processed_uploads is
'Pictures that were brought to be processed, one row each: the path of the newest result of each operation in the bucket
processed-images, null where there is none, and when the newest of them was made.'$statement$,
$statement$revoke all on table public.processed_uploads from public, anon, authenticated, service_role$statement$,
$statement$grant select on table public.processed_uploads to service_role$statement$,
$statement$create function public.cleanup_old_processed_images(
    p_older_than interval default '30 days', p_limit integer default 1000
)
returns jsonb
language sql
volatile
security invoker
set search_path = ''
as $$
    select jsonb_build_object('processed_pictures', c.counts -> 'pictures')
        || (c.counts - array['pictures', 'generations', 'archived'])
    from public.cleanup_entries('processed', p_limit, null, p_older_than) as c (counts);
$$$statement$,
$statement$comment on function public.cleanup_old_processed_images(interval, integer) is
'Remove processed pictures not used for p_older_than (30 days), and what is known of pictures of which nothing is left;
at most p_limit of each a call; answers counts. Call it again while it answers more than zero.'$statement$,
$statement$revoke all on function public.cleanup_old_processed_images(interval, integer) from public, anon, authenticated$statement$,
$statement$grant execute on function public.cleanup_old_processed_images(interval, integer) to service_role$statement$,
$statement$create function public.count_old_processed_images(p_older_than interval default '30 days')
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object('processed_pictures', c.counts -> 'pictures')
        || (c.counts - array['pictures', 'generations', 'archived'])
    from public.count_old_entries('processed', p_older_than) as c (counts);
$$$statement$,
$statement$comment on function public.count_old_processed_images(interval) is
'What cleanup_old_processed_images would remove by and by, as the same counts; changes nothing.'$statement$,
$statement$revoke all on function public.count_old_processed_images(interval) from public, anon, authenticated$statement$,
$statement$grant execute on function public.count_old_processed_images(interval) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000895', 'create_kept_pictures', array[
$statement$-- Kept pictures by any of their names, and the placeholders of those that have none yet.

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
$$$statement$,
$statement$comment on function public.find_kept(text) is
'The kept picture of that id: the key of a rendition or of a generation, or [bucket/]YYYY/MM/name; no row where there is
none.'$statement$,
$statement$revoke all on function public.find_kept(text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.find_kept(text) to service_role$statement$,
$statement$create function public.describe_kept(p_generation_key text)
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
$$$statement$,
$statement$comment on function public.describe_kept(text) is
'What is known of a kept picture and of all its forms; null where it is not kept.'$statement$,
$statement$revoke all on function public.describe_kept(text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.describe_kept(text) to service_role$statement$,
$statement$create function public.originals_without_placeholder(p_limit integer, p_after text default '')
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
$$$statement$,
$statement$comment on function public.originals_without_placeholder(integer, text) is
'At most p_limit originals whose placeholder is not known, in the order of their keys, after p_after.'$statement$,
$statement$revoke all on function public.originals_without_placeholder(integer, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.originals_without_placeholder(integer, text) to service_role$statement$,
$statement$create function public.count_without_placeholder()
returns bigint
language sql
stable
security invoker
set search_path = ''
as $$
    select count(*) from copperplate.cache_entries as e where e.is_original and e.thumbhash is null;
$$$statement$,
$statement$comment on function public.count_without_placeholder() is
'How many originals there are whose placeholder is not known.'$statement$,
$statement$revoke all on function public.count_without_placeholder() from public, anon, authenticated$statement$,
$statement$grant execute on function public.count_without_placeholder() to service_role$statement$,
$statement$create function public.set_placeholder(p_generation_key text, p_thumbhash text, p_color text)
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
$$$statement$,
$statement$comment on function public.set_placeholder(text, text, text) is
'Note the placeholder of a kept picture that has none, on all its forms: its ThumbHash in base64 and its dominant colour
as #rrggbb; an empty ThumbHash without a colour where none can be made. False where none of it is kept, or it has one.'$statement$,
$statement$revoke all on function public.set_placeholder(text, text, text) from public, anon, authenticated$statement$,
$statement$grant execute on function public.set_placeholder(text, text, text) to service_role$statement$
]);

select pg_temp.apply_migration('20261120000900', 'create_buckets', array[
$statement$-- Where pictures live on Supabase. Policies there are none, on purpose: a public bucket is read without
-- any, through its public addresses, and only service_role, which row-level security does not bind, writes. A private
-- bucket is read by nobody else either, but through addresses that are signed for a while.
-- A Postgres without Supabase Storage keeps its pictures in a folder and has nothing to do here.
create function copperplate.make_buckets()
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if to_regclass('storage.buckets') is null then
        return;
    end if;
    insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
    select
        k.bucket,
        k.bucket,
        k.is_public,
        k.max_bytes,
        array['image/jpeg', 'image/png', 'image/webp', 'image/avif']
        -- What is to be processed may be uploaded to it directly: see POST /api/process/uploads.
        || case when k.is_public then '{}'::text[] else array['image/gif'] end
    from copperplate.kinds as k
    -- A bucket that is there is somebody's: a private one must not become public behind their back.
    on conflict (id) do nothing;
end;
$$$statement$,
$statement$comment on function copperplate.make_buckets() is
'Make the buckets of all kinds that are not there; does nothing where there is no Supabase Storage.
Only for the owner of the schema.'$statement$,
$statement$revoke all on function copperplate.make_buckets() from public, anon, authenticated, service_role$statement$,
$statement$create function copperplate.note_kind_added()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    perform copperplate.make_buckets();
    return null;
end;
$$$statement$,
$statement$comment on function copperplate.note_kind_added() is 'Makes the bucket of a kind that a later migration adds.'$statement$,
$statement$revoke all on function copperplate.note_kind_added() from public, anon, authenticated, service_role$statement$,
$statement$create trigger kinds_added
after insert on copperplate.kinds
for each statement execute function copperplate.note_kind_added()$statement$,
$statement$select copperplate.make_buckets()$statement$
]);

select pg_temp.apply_migration('20261120000950', 'create_restores', array[
$statement$-- After a backup was restored fences go on above all that were ever given, also those the backup knows nothing of.
create table copperplate.restores (
    -- When the backup was restored, as whoever did it says: the name of the restore.
    restored_at timestamptz not null,
    fences_after bigint not null,
    constraint restores_pkey primary key (restored_at)
)$statement$,
$statement$comment on table copperplate.restores is
'Restores after which fences were raised, so that each raises them once.
Row-level security is on without a policy: only the owner sees rows.'$statement$,
$statement$alter table copperplate.restores enable row level security$statement$,
$statement$revoke all on table copperplate.restores from public, anon, authenticated, service_role$statement$,
$statement$create function copperplate.raise_fences(p_restored_at text)
returns table (fences_go_on_after bigint, is_raised boolean)
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- More than were given between any backup and its restore.
    c_skipped constant bigint := 1000000000;
    v_restored_at timestamptz;
    v_last bigint;
    v_highest bigint;
begin
    -- The same words name the same restore whenever and by whomever they are read: no `now`, and no zone of a session.
    if p_restored_at !~ '^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2})? ?(Z|UTC|[+-]\d{2}(:?\d{2})?)$' then
        raise exception 'write the time of the restore with its zone, such as 2026-11-29 12:00 UTC'
        using errcode = 'invalid_datetime_format';
    end if;
    v_restored_at := p_restored_at::timestamptz;
    if v_restored_at > copperplate.clock() then
        raise exception 'the time of the restore is in the future' using errcode = 'datetime_field_overflow';
    end if;
    -- Two at once are one after the other.
    lock table copperplate.restores in exclusive mode;
    select f.last_value into v_last from copperplate.fences as f;
    select coalesce(max(g.fence), 0) into v_highest from public.generation_status as g;
    insert into copperplate.restores (restored_at, fences_after)
    values (v_restored_at, greatest(v_last, v_highest) + c_skipped)
    on conflict (restored_at) do nothing
    returning fences_after into fences_go_on_after;
    is_raised := found;
    -- A sequence that fell behind its rows is never right, whatever was done before.
    if not is_raised and v_highest > v_last then
        is_raised := true;
        fences_go_on_after := v_highest + c_skipped;
    end if;
    if is_raised then
        perform setval('copperplate.fences', fences_go_on_after);
        -- Copies of what the backup does not know are another database's from now on.
        delete from copperplate.invalidations;
        update copperplate.feed_states as s
        set
            database_id = gen_random_uuid(), forgotten = '1:1:', marked = pg_current_snapshot(),
            marked_at = copperplate.clock()
        where s.is_only;
    else
        fences_go_on_after := v_last;
    end if;
    return next;
end;
$$$statement$,
$statement$comment on function copperplate.raise_fences(text) is
'After the restore of this time, which is past and has its zone: fences go on above all that were ever given. Once for
each restore, and then only if the sequence is behind its rows; is_raised says whether anything was changed. Every
server has to be stopped.'$statement$,
$statement$revoke all on function copperplate.raise_fences(text) from public, anon, authenticated, service_role$statement$
]);

select pg_temp.apply_migration('20261120001000', 'create_checks', array[
$statement$-- What operators look at from outside: `copperplate doctor`, /readyz and /metrics.

create function public.check_setup()
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_buckets jsonb;
begin
    -- Only a Supabase project has buckets; elsewhere pictures lie in a folder.
    if to_regclass('storage.buckets') is not null then
        execute 'select jsonb_object_agg(b.id, b.public) from storage.buckets as b' into v_buckets;
    end if;
    return jsonb_build_object(
        -- The version of this migration, the last one; a test holds it.
        'schema', '20261120001000',
        'postgres', current_setting('server_version'),
        'now', extract(epoch from copperplate.clock()),
        'buckets', v_buckets
    );
end;
$$$statement$,
$statement$comment on function public.check_setup() is
'What this database is: version of our schema and of Postgres, its time in seconds since 1970, and whether each
Storage bucket is public (null where there is no Storage).'$statement$,
$statement$revoke all on function public.check_setup() from public, anon, authenticated$statement$,
$statement$grant execute on function public.check_setup() to service_role$statement$,
$statement$create function public.get_usage_totals()
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    with sums as (
        select
            r.kind, r.provider, r.model, r.outcome, r.tier,
            sum(r.requests) as requests, sum(r.bytes) as bytes
        from copperplate.usage_rollups as r
        group by r.kind, r.provider, r.model, r.outcome, r.tier
    ),

    money as (
        select
            m.kind, m.provider, m.model,
            sum(m.submits) as submits, sum(m.estimated) as estimated, sum(m.unpriced) as unpriced,
            sum(m.spent_micro_usd) as spent_micro_usd, sum(m.saved) as saved,
            sum(m.unpriced_saved) as unpriced_saved, sum(m.saved_micro_usd) as saved_micro_usd
        from copperplate.money_totals as m
        group by m.kind, m.provider, m.model
    ),

    latencies as (
        select l.kind, l.outcome, jsonb_agg(l.total order by l.n) as buckets
        from (
            select r.kind, r.outcome, h.n, sum(h.count) as total
            from copperplate.usage_rollups as r
            cross join lateral unnest(r.latency) with ordinality as h (count, n)
            group by r.kind, r.outcome, h.n
        ) as l
        group by l.kind, l.outcome
    )

    select jsonb_build_object(
        'usage', (select coalesce(jsonb_agg(to_jsonb(s)), '[]') from sums as s),
        'money', (select coalesce(jsonb_agg(to_jsonb(m)), '[]') from money as m),
        'latency', (select coalesce(jsonb_agg(to_jsonb(l)), '[]') from latencies as l),
        'in_flight', (
            select count(*)
            from public.generation_status as g
            where g.status in ('pending', 'generating') and g.lease_until > copperplate.clock()
        ),
        'discarded', (select count(*) from copperplate.discarded_objects),
        'cdn_purges', (
            select coalesce(jsonb_agg(jsonb_build_object('scope', c.scope, 'purges', c.purges, 'since', c.since)), '[]')
            from (
                select p.scope, count(*) as purges, extract(epoch from min(p.declared_at)) as since
                from copperplate.cdn_purges as p
                group by p.scope
                order by p.scope
            ) as c
        )
    );
$$$statement$,
$statement$comment on function public.get_usage_totals() is
'Since the beginning: requests and bytes by kind, provider, model, outcome and tier; money by kind, provider and model;
histograms of the time to answer; generations that are led now; objects that wait to be removed; CDN purges that
wait, by scope, and since when, in seconds of the epoch. For /metrics.'$statement$,
$statement$revoke all on function public.get_usage_totals() from public, anon, authenticated$statement$,
$statement$grant execute on function public.get_usage_totals() to service_role$statement$,
$statement$-- Security definer: only the owner may read which migrations are recorded. It takes nothing and answers versions.
create function copperplate.recorded_migrations()
returns text[]
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    v_versions text[];
begin
    if to_regclass('supabase_migrations.schema_migrations') is not null then
        execute 'select array_agg(m.version::text order by m.version) from supabase_migrations.schema_migrations as m'
        into v_versions;
    end if;
    return v_versions;
end;
$$$statement$,
$statement$comment on function copperplate.recorded_migrations() is
'Versions of the migrations that are recorded as applied; null where there is no record.'$statement$,
$statement$revoke all on function copperplate.recorded_migrations() from public, anon, authenticated$statement$,
$statement$grant execute on function copperplate.recorded_migrations() to service_role$statement$,
$statement$-- Of everything in our schema, and in public of what is named: how it is made, and who may do what. Postgres'
-- own catalogs tell, which every role may read.
create function public.describe_schema(p_names text[] default null)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    with ours as (
        select n.oid, n.nspname as name, n.nspname = 'copperplate' as is_all
        from pg_catalog.pg_namespace as n
        where n.nspname in ('public', 'copperplate')
    ),

    relations as (
        select
            c.oid, o.name || '.' || c.relname as name, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
            case c.relkind when 'S' then 'sequence' when 'v' then 'view' when 'c' then 'type' else 'table' end as kind,
            -- Up to version 15 every column is qualified, later only where it has to be.
            case
                when c.relkind = 'v' then regexp_replace(pg_catalog.pg_get_viewdef(c.oid), '\m\w+[.]', '', 'g')
            end as body
        from pg_catalog.pg_class as c
        inner join ours as o on c.relnamespace = o.oid
        where c.relkind in ('r', 'p', 'v', 'm', 'S', 'c') and (o.is_all or p_names is null or c.relname = any(p_names))
    ),

    columns as (
        select
            a.attrelid,
            string_agg(
                concat_ws(
                    ' ', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                    a.attgenerated, pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attacl is not null
                ),
                ', ' order by a.attnum
            ) as made
        from pg_catalog.pg_attribute as a
        left join pg_catalog.pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum
        where a.attnum > 0 and not a.attisdropped
        group by a.attrelid
    ),

    objects (name, made, oid, rights) as (
        select 'schema ' || o.name, '', o.oid, array['usage', 'create'] from ours as o where o.is_all
        union all
        select
            r.kind || ' ' || r.name,
            concat_ws(' ', r.relrowsecurity, r.relforcerowsecurity, r.reloptions, c.made, r.body),
            r.oid,
            case
                when r.kind in ('table', 'view') then array['select', 'insert', 'update', 'delete', 'truncate']
                when r.kind = 'sequence' then array['usage', 'update']
            end
        from relations as r
        left join columns as c on r.oid = c.attrelid
        union all
        select 'constraint ' || r.name || ' ' || c.conname, pg_catalog.pg_get_constraintdef(c.oid), null, null
        from pg_catalog.pg_constraint as c
        inner join relations as r on c.conrelid = r.oid
        where c.contype <> 'n'
        union all
        select 'index ' || r.name || ' ' || c.relname, concat_ws(' ', pg_catalog.pg_get_indexdef(c.oid), i.indisvalid), null, null
        from pg_catalog.pg_index as i
        inner join relations as r on i.indrelid = r.oid
        inner join pg_catalog.pg_class as c on i.indexrelid = c.oid
        -- A constraint's own goes with it.
        where not exists (
            select from pg_catalog.pg_constraint as k where k.conrelid = i.indrelid and k.conindid = i.indexrelid
        )
        union all
        select 'trigger ' || r.name || ' ' || t.tgname, concat_ws(' ', pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled), null, null
        from pg_catalog.pg_trigger as t
        inner join relations as r on t.tgrelid = r.oid
        where not t.tgisinternal
        union all
        select
            'policy ' || r.name || ' ' || p.polname,
            concat_ws(
                ' ', p.polcmd, p.polpermissive, p.polroles::regrole[],
                pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
            ),
            null,
            null
        from pg_catalog.pg_policy as p
        inner join relations as r on p.polrelid = r.oid
        union all
        select
            'function ' || p.oid::regprocedure,
            concat_ws(
                ' ', replace(p.prosrc, E'\r', ''), pg_catalog.pg_get_function_sqlbody(p.oid), l.lanname, p.provolatile,
                p.prosecdef, p.proisstrict, p.proconfig, pg_catalog.pg_get_function_result(p.oid),
                pg_catalog.pg_get_function_arguments(p.oid)
            ),
            p.oid,
            array['execute']
        from pg_catalog.pg_proc as p
        inner join ours as o on p.pronamespace = o.oid
        inner join pg_catalog.pg_language as l on p.prolang = l.oid
        where o.is_all or p_names is null or p.proname = any(p_names)
    ),

    granted as (
        select o.name, string_agg(r.role || ' ' || v.verb, ', ' order by r.role, v.verb) as rights
        from objects as o
        cross join lateral unnest(o.rights) as v (verb)
        cross join unnest(array['anon', 'authenticated', 'service_role']) as r (role)
        where
            case
                when o.name like 'function %' then pg_catalog.has_function_privilege(r.role, o.oid, v.verb)
                when o.name like 'schema %' then pg_catalog.has_schema_privilege(r.role, o.oid, v.verb)
                when o.name like 'sequence %' then pg_catalog.has_sequence_privilege(r.role, o.oid, v.verb)
                else pg_catalog.has_table_privilege(r.role, o.oid, v.verb)
            end
        group by o.name
    )

    select jsonb_build_object(
        'migrations', to_jsonb(copperplate.recorded_migrations()),
        'objects', (
            select jsonb_object_agg(o.name, jsonb_build_array(md5(o.made), coalesce(g.rights, '')))
            from objects as o
            left join granted as g on o.name = g.name
        )
    );
$$$statement$,
$statement$comment on function public.describe_schema(text[]) is
'For copperplate doctor: the migrations that are recorded, and of each object in schema copperplate, and of those in
public that are named (all, without names), a digest of how it is made and what the API roles may do with it.'$statement$,
$statement$revoke all on function public.describe_schema(text[]) from public, anon, authenticated$statement$,
$statement$grant execute on function public.describe_schema(text[]) to service_role$statement$
]);

drop function pg_temp.apply_migration(text, text, text[]);
notify pgrst, 'reload schema';
commit;

select m.version, m.name from supabase_migrations.schema_migrations as m order by m.version;
