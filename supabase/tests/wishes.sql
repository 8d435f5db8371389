-- Wishes: kept under the key of their recipe, taken by one at a time, settled once, forgotten with their user.
begin;
select plan(47);

create function pg_temp.recipe(p_prompt text)
returns jsonb
language sql
as $$
    select jsonb_build_object(
        'v', 1, 'kind', 'image', 'model', 'm', 'prompt', p_prompt, 'width', 64, 'height', 64
    )
$$;

create function pg_temp.key(p_prompt text)
returns text
language sql
as $$ select public.cache_key(pg_temp.recipe(p_prompt)) $$;

create function pg_temp.wish(p_prompt text, p_owner text default 'key:1', p_priority integer default 2)
returns jsonb
language sql
as $$
    select jsonb_build_object(
        'generation_key', pg_temp.key(p_prompt), 'recipe', pg_temp.recipe(p_prompt), 'owner', p_owner,
        'spending', '{"payer": "key:1", "amount_micro_usd": 3000, "max_in_flight": null, "budgets": []}'::jsonb,
        'charge_user', null, 'charge_credits', null, 'priority', p_priority, 'paths', '["/a.jpg"]'::jsonb,
        'echo', '{}'::jsonb
    )
$$;

create function pg_temp.move(p_by interval)
returns void
language sql
as $$
    select set_config(
        'copperplate.clock_offset',
        (coalesce(nullif(current_setting('copperplate.clock_offset', true), ''), '0')::interval + p_by)::text,
        true
    )
$$;

create function pg_temp.taken(p_in_flight integer)
returns text[]
language sql
as $$
    select array(
        select t.wish #>> '{recipe,prompt}'
        from jsonb_array_elements(public.take_wishes(p_in_flight, '1 minute')) with ordinality as t (wish, n)
        order by t.n
    )
$$;

create function pg_temp.status(p_prompt text)
returns text
language sql
as $$
    select concat_ws(' ', w.status, w.code)
    from copperplate.wishes as w
    where w.generation_key = pg_temp.key(p_prompt)
    order by w.id desc
    limit 1
$$;

select has_index(
    'copperplate', 'wishes', 'wishes_open_generation_idx', 'generation_key', 'open wishes are found by their generation'
);
select has_index('copperplate', 'wishes', 'wishes_due_idx', 'due_at', 'whether anything is due by its time alone');
set local role service_role;

-- Kept.
select is(public.take_wishes(5, '1 minute'), '[]'::jsonb, 'nothing is due where nothing is wished for');
select ok(not public.is_work_due(), 'and no work is');
select throws_ok(
    $$ select public.make_wish(pg_temp.wish('one') || jsonb_build_object('generation_key', pg_temp.key('two')), '0') $$,
    'ZC002', null, 'a key has to be the key of its recipe'
);
select throws_ok(
    $$ select public.make_wish(
        pg_temp.wish('one') || jsonb_build_object(
            'recipe', r.recipe, 'generation_key', public.cache_key(r.recipe)
        ), '0'
    ) from (select pg_temp.recipe('one') || '{"kind": "poster"}' as recipe) as r $$,
    'ZC003', null, 'and its kind to be known'
);
select ok(public.make_wish(pg_temp.wish('low', 'key:1', 3), '0') is not null, 'a wish is kept');
select ok(public.make_wish(pg_temp.wish('held'), '1 minute') is not null, 'one is held by its maker');
select ok(public.make_wish(pg_temp.wish('usual'), '0') is not null, 'one is as urgent as usual');
select is(
    public.make_wish(pg_temp.wish('low', 'key:1', 2), '0'),
    (
        select w.id from copperplate.wishes as w
        where w.generation_key = pg_temp.key('low')
    ),
    'wished for again by its owner it is the same'
);
select is(
    (
        select w.priority from copperplate.wishes as w
        where w.generation_key = pg_temp.key('low')
    ), 2,
    'as urgent as it is to the more urgent'
);
update copperplate.wishes as w set priority = 3
where w.generation_key = pg_temp.key('low');
select results_eq(
    'select p.prompt, p.kind from public.get_pending_prompts() as p',
    $$ values ('held', 'image'), ('usual', 'image'), ('low', 'image') $$,
    'pending prompts are told, the most urgent first'
);
select is((select count(*) from public.get_pending_prompts(1)), 1::bigint, 'as many as are asked for');

-- Taken.
select ok(public.is_work_due(), 'work is due');
select is(pg_temp.taken(0), array[]::text[], 'nothing is taken without room');
select is(pg_temp.taken(1), array['usual'], 'the most urgent is, beside what its maker holds, up to the bound');
select is(pg_temp.taken(1), array[]::text[], 'and not twice');
select is(pg_temp.taken(9), array['low'], 'whoever has room takes the rest');
select ok(not public.is_work_due(), 'then nothing is due');
select pg_temp.move('61 seconds');
select ok(public.is_work_due(), 'until a hold is over');

-- In flight while it is led.
select is(
    (public.acquire_generation(
        pg_temp.recipe('usual'), pg_temp.key('usual'), repeat('e', 64), gen_random_uuid(), '10 minutes'
    )).outcome,
    'lead', 'somebody leads one of them'
);
select is(copperplate.count_wishes_in_flight(copperplate.clock()), 1::bigint, 'a lease counts as a hold does');
select is(pg_temp.taken(1), array[]::text[], 'there is no room beside it');
select is(pg_temp.taken(9), array['held', 'low'], 'and it is not taken itself');
select is(copperplate.count_wishes_in_flight(copperplate.clock()), 3::bigint, 'each is counted once');

-- Settled.
select is(
    public.settle_wish(w.id, 'completed'), true, 'a wish ends'
) from copperplate.wishes as w
where w.generation_key = pg_temp.key('usual');
select is(
    public.settle_wish(w.id, 'failed', 'generation_failed'), false, 'once'
) from copperplate.wishes as w
where w.generation_key = pg_temp.key('usual');
select is(pg_temp.status('usual'), 'completed', 'as it was settled first');
select is(
    public.settle_wish(w.id, 'open', null, '30 seconds'), true, 'one is put back'
) from copperplate.wishes as w
where w.generation_key = pg_temp.key('held');
select is(pg_temp.taken(9), array[]::text[], 'and rests');
select pg_temp.move('31 seconds');
select is(pg_temp.taken(9), array['held'], 'for as long as was said');
select is(public.settle_wish(0, 'completed'), false, 'an unknown wish is not settled');
select throws_ok(
    $$ select public.settle_wish(w.id, 'failed') from copperplate.wishes as w where w.status = 'open' limit 1 $$,
    '23514', null, 'a failure has its code'
);

-- After a day.
select pg_temp.move('1 day');
select is(pg_temp.taken(9), array[]::text[], 'what stayed open for a day is not taken');
select is(pg_temp.status('held'), 'failed abandoned', 'it is abandoned');
select is((select count(*) from public.get_pending_prompts(9)), 0::bigint, 'nothing is pending');

select ok(public.make_wish(pg_temp.wish('later'), '0') is not null, 'another one');
select pg_temp.move('7 days 1 minute');
select lives_ok('select public.sweep_generations(1)', 'the sweep forgets what is settled long enough');
select results_eq(
    $$ select w.recipe ->> 'prompt' from copperplate.wishes as w $$, $$ values ('later') $$,
    'after seven days, and abandons what is open'
);
select is(pg_temp.status('later'), 'failed abandoned', 'without anybody who takes work');

-- A user who is forgotten.
select lives_ok(
    $$ select public.make_wish(
        pg_temp.wish('hers', 'user:00000000-0000-4000-8000-00000000a11c') || jsonb_build_object(
            'charge_user', '00000000-0000-4000-8000-00000000a11c', 'charge_credits', 1
        ), '0'
    ) $$,
    'alice wishes'
);
select lives_ok($$ select public.forget_user('00000000-0000-4000-8000-00000000a11c') $$, 'and is forgotten');
select public.make_wish(
    pg_temp.wish('late', 'user:00000000-0000-4000-8000-00000000a11c') || jsonb_build_object(
        'charge_user', '00000000-0000-4000-8000-00000000a11c', 'charge_credits', 1
    ), '0'
);
select is(pg_temp.status('late'), 'failed spending_refused', 'what she wishes for with an old token is not made');
select is_empty(
    $$ select w.* from copperplate.wishes as w where to_jsonb(w)::text like '%a11c%' $$, 'no wish names her'
);

-- So many, and no more.
insert into copperplate.wishes (owner, generation_key, kind, recipe, priority, created_at)
select
    o.owner,
    encode(sha256(n.n::text::bytea), 'hex') as generation_key,
    'image' as kind,
    '{}' as recipe,
    3 as priority,
    copperplate.clock() as created_at
from unnest(array['key:9', 'owner']) as o (owner)
cross join generate_series(1, 10000) as n (n);
select throws_ok(
    $$ select public.make_wish(pg_temp.wish('more', 'key:9'), '0') $$, 'ZC014', null, 'a caller has so many open wishes'
);
select lives_ok($$ select public.make_wish(pg_temp.wish('more', 'key:8'), '0') $$, 'another one has room');
select lives_ok($$ select public.make_wish(pg_temp.wish('more', 'owner'), '0') $$, 'and so has the owner');

select * from finish();
rollback;
