-- A picture is taken down: everything of it goes, nobody is elected for it, and nothing that was under way is kept.
begin;
select plan(37);

create function pg_temp.enter(p_generation text, p_digit text, p_is_original boolean, p_format text)
returns void
language sql
as $$
    insert into copperplate.cache_entries (
        key, generation_key, kind, is_original, is_shown, bucket, path, digest, file_size, format, width, height,
        created_at, last_accessed_at
    )
    values (
        repeat(p_digit, 64), repeat(p_generation, 64), 'image', p_is_original, not p_is_original, 'generated-images',
        '2026/01/' || repeat(p_digit, 64) || '.' || p_format, repeat(p_digit, 64), 1000, p_format, 64, 64, now(), now()
    )
$$;
insert into public.generation_status (
    prompt_hash, kind, recipe, prompt, dimensions, model, format, status, window_started_at, fence, created_at,
    updated_at, completed_at
)
values (repeat('a', 64), 'image', '{}', 'a fox', '64x64', 'm', 'png', 'completed', now(), 1, now(), now(), now());
select pg_temp.enter('a', '1', true, 'png');
select pg_temp.enter('a', '2', false, 'jpg');

create function pg_temp.recipe()
returns jsonb
language sql
as $$ select '{"kind": "image", "prompt": "a hen", "model": "m", "width": 64, "height": 64, "v": 1}'::jsonb $$;
create function pg_temp.acquire(p_rendition text)
returns copperplate.acquire_result
language sql
as $$
    select a.* from public.acquire_generation(
        pg_temp.recipe(), public.cache_key(pg_temp.recipe()), repeat(p_rendition, 64), gen_random_uuid(), '20 s'
    ) as a
$$;

set local role service_role;

-- By the key of a rendition.
select is(
    public.take_down(repeat('2', 64), 'a letter of a lawyer')
    - array['objects'],
    jsonb_build_object(
        'found', 'picture', 'generation_key', repeat('a', 64), 'is_new', true,
        'generations', 1, 'descendants', 0, 'images', 1, 'bytes', 2000, 'keys', array[repeat('a', 64)],
        'is_whole', true
    ),
    'a picture is taken down by its own key, and with it its generation'
);
select is_empty('select * from public.generation_status', 'its generation is gone');
select is_empty('select * from copperplate.cache_entries', 'with every format of it');
select is((select count(*) from copperplate.discarded_objects), 2::bigint, 'and every object is to be removed');
select results_eq(
    'select t.generation_key, t.asked_key, t.reason from copperplate.takedowns as t where t.follows_key is null',
    $$ values (repeat('a', 64), repeat('2', 64), 'a letter of a lawyer') $$,
    'the tombstone names both keys and the reason'
);
select is(
    (public.peek_generation(repeat('a', 64), repeat('3', 64))).outcome, 'gone', 'no format of it is looked up any more'
);
select ok(copperplate.is_taken_down(repeat('a', 64)), 'it is taken down');
select ok(not copperplate.is_taken_down(repeat('b', 64)), 'another is not');

-- Again.
select is(
    public.take_down(repeat('a', 64)) -> 'is_new', 'false'::jsonb, 'taken down again it is not new'
);
select is(public.take_down(repeat('2', 64)) ->> 'found', 'tombstone', 'the key that was asked leads to the tombstone');
select is(
    jsonb_array_length(public.take_down(repeat('a', 64)) -> 'objects'), 2,
    'what the store has not removed yet is named again'
);
select is(
    (select count(*) from copperplate.takedowns), 3::bigint, 'there is one tombstone, and one of the bytes of each form'
);
select is_empty('select * from public.generation_status', 'and no row of a generation stays behind');

-- Lifted, by the key that was asked.
select ok(public.lift_takedown(repeat('2', 64)), 'it is lifted');
select ok(not public.lift_takedown(repeat('2', 64)), 'there is nothing to lift twice');
select is((public.peek_generation(repeat('a', 64), repeat('2', 64))).outcome, 'free', 'and may be made anew');

-- Nobody has asked for it yet.
select is(
    public.take_down(public.cache_key(pg_temp.recipe())) ->> 'found', 'nothing', 'an unknown key is taken down, too'
);
select is((pg_temp.acquire('4')).outcome, 'gone', 'nobody is elected for it');
select is_empty('select * from public.generation_status', 'and no row is made');
select ok(public.lift_takedown(public.cache_key(pg_temp.recipe())), 'it is lifted again');

-- A generation under way.
create temporary table held on commit drop as
select a.* from pg_temp.acquire('4') as a;
select is((select h.outcome from held as h), 'lead', 'somebody is elected');
select is(
    (public.begin_submit(public.cache_key(pg_temp.recipe()), (select h.fence from held as h), 1, 'painter')).outcome,
    'lead', 'and submits'
);
select is(
    public.take_down(public.cache_key(pg_temp.recipe())) ->> 'found', 'generation', 'its generation is taken down'
);
select ok(
    not public.heartbeat_generation(public.cache_key(pg_temp.recipe()), (select h.fence from held as h), '20 s'),
    'the lease is void'
);
select is(
    (public.complete_generation(
        public.cache_key(pg_temp.recipe()), (select h.fence from held as h), repeat('5', 64),
        jsonb_build_object(
            'path', '2026/01/' || repeat('5', 64) || '.png', 'digest', repeat('5', 64), 'size_bytes', 1000,
            'format', 'png', 'width', 64, 'height', 64
        ),
        null
    )).outcome,
    'stale',
    'what it made is refused'
);
select isnt_empty(
    $$ select d.path from copperplate.discarded_objects as d where d.path = '2026/01/' || repeat('5', 64) || '.png' $$,
    'and its object is to be removed'
);
select is((select count(*) from copperplate.submits), 1::bigint, 'the book keeps what was spent');

-- An election beside the takedown: its row came after, and its submit finds the tombstone.
insert into public.generation_status (
    prompt_hash, kind, recipe, prompt, dimensions, model, phase, leader, lease_until, window_started_at, fence,
    created_at, updated_at
)
values (
    public.cache_key(pg_temp.recipe()), 'image', pg_temp.recipe(), 'a hen', '64x64', 'm', 'claimed', gen_random_uuid(),
    now() + interval '20 s', now(), 7, now(), now()
);
select is(
    (public.begin_submit(public.cache_key(pg_temp.recipe()), 7, 1, 'painter')).outcome, 'stale', 'nothing is submitted'
);
select is_empty('select * from public.generation_status', 'the late row goes');
select is((select count(*) from copperplate.submits), 1::bigint, 'and nothing is spent');
select ok(public.lift_takedown(public.cache_key(pg_temp.recipe())), 'it is lifted');

-- The key of a rendition of which nothing is known.
select is(public.take_down(repeat('6', 64)) ->> 'found', 'nothing', 'the key of a rendition nobody has');
select is((pg_temp.acquire('6')).outcome, 'gone', 'is gone once it is asked for');
select ok(
    copperplate.is_taken_down(public.cache_key(pg_temp.recipe())), 'which makes it a tombstone of its generation'
);
select is((pg_temp.acquire('7')).outcome, 'gone', 'in every format');
select ok(public.lift_takedown(repeat('6', 64)), 'one call');
select is_empty('select * from copperplate.takedowns', 'lifts both');

select * from finish();
rollback;
