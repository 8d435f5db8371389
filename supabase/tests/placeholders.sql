-- Kept pictures by their names, and placeholders for those that have none.
begin;
select plan(22);

create function pg_temp.enter(p_generation text, p_digit text, p_is_original boolean, p_format text)
returns void
language sql
as $$
    insert into copperplate.cache_entries (
        key, generation_key, kind, is_original, is_shown, bucket, path, digest, file_size, format, width, height,
        quality, created_at, last_accessed_at
    )
    values (
        repeat(p_digit, 64), repeat(p_generation, 64), 'image', p_is_original, not p_is_original, 'generated-images',
        '2026/01/' || repeat(p_digit, 64) || '.' || p_format, repeat(p_digit, 64), 1000, p_format, 64, 64,
        case when p_format <> 'png' then 85 end, now(), now()
    )
$$;
insert into public.generation_status (
    prompt_hash, kind, recipe, prompt, dimensions, model, format, status, window_started_at, fence, created_at,
    updated_at, completed_at
)
values
(repeat('a', 64), 'image', '{}', 'a fox', '64x48', 'm', 'png', 'completed', now(), 1, now(), now(), now()),
(repeat('b', 64), 'image', '{}', 'a hen', '64x48', 'm', 'png', 'completed', now(), 1, now(), now(), now());
select pg_temp.enter('a', '1', true, 'png');
select pg_temp.enter('a', '2', false, 'jpg');
select pg_temp.enter('b', '3', true, 'png');

set local role service_role;

-- Names.
select is((select f.key from public.find_kept(repeat('2', 64)) as f), repeat('2', 64), 'a rendition by its key');
select is((select f.key from public.find_kept(repeat('a', 64)) as f), repeat('1', 64), 'a generation is its original');
select is(
    (select f.key from public.find_kept('2026/01/' || repeat('2', 64) || '.jpg') as f), repeat('2', 64),
    'an object by its path'
);
select is(
    (select f.key from public.find_kept('generated-images/2026/01/' || repeat('2', 64) || '.jpg') as f),
    repeat('2', 64),
    'an object by bucket and path'
);
select is_empty(
    $$ select 1 from public.find_kept('memoji-images/2026/01/' || repeat('2', 64) || '.jpg') $$,
    'not in another bucket'
);
select is_empty($$ select 1 from public.find_kept('') $$, 'no name is nothing');
select is_empty($$ select 1 from public.find_kept(repeat('9', 64)) $$, 'what is not kept is not found');
select is((select f.dimensions from public.find_kept(repeat('2', 64)) as f), '64x48', 'the canvas is what was asked');

-- What is known.
select is(public.describe_kept(repeat('9', 64)), null, 'nothing is known of what is not kept');
select is(
    jsonb_array_length(public.describe_kept(repeat('a', 64)) -> 'entries'), 2, 'every form of a picture is described'
);
select is(
    public.describe_kept(repeat('a', 64)) #> '{entries,0,is_original}', 'true'::jsonb, 'the original comes first'
);

-- Placeholders.
select is(public.count_without_placeholder(), 2::bigint, 'originals without one are counted');
select results_eq(
    $$ select entry_key from public.originals_without_placeholder(10) $$,
    array[repeat('1', 64), repeat('3', 64)],
    'and found by their keys'
);
select results_eq(
    $$ select entry_key from public.originals_without_placeholder(10, repeat('1', 64)) $$,
    array[repeat('3', 64)],
    'after a key'
);
select results_eq(
    $$ select entry_key from public.originals_without_placeholder(1) $$, array[repeat('1', 64)], 'at most so many'
);
select ok(public.set_placeholder(repeat('a', 64), 'AAAA', '#102030'), 'one is noted');
select results_eq(
    $$ select thumbhash || color from copperplate.cache_entries where generation_key = repeat('a', 64) $$,
    array['AAAA#102030', 'AAAA#102030'],
    'on every form'
);
select ok(not public.set_placeholder(repeat('a', 64), 'BBBB', '#405060'), 'once');
select ok(not public.set_placeholder(repeat('9', 64), 'AAAA', '#102030'), 'and only where something is kept');
select ok(public.set_placeholder(repeat('b', 64), '', null), 'that none can be made is noted');
select is(public.count_without_placeholder(), 0::bigint, 'and nobody tries again');
reset role;
select throws_ok(
    $$ update copperplate.cache_entries set color = 'red' $$, '23514', null, 'a colour is #rrggbb'
);

select * from finish();
rollback;
