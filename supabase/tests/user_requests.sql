-- User requests: one answer under one key for a day; who asked is told; whoever is deleted is forgotten.
begin;
select plan(33);

create function pg_temp.alice() returns uuid language sql as $$ select '00000000-0000-4000-8000-00000000a11c'::uuid $$;
create function pg_temp.bob() returns uuid language sql as $$ select '00000000-0000-4000-8000-000000000b0b'::uuid $$;
create function pg_temp.one() returns text language sql as $$ select repeat('1', 64) $$;
create function pg_temp.two() returns text language sql as $$ select repeat('2', 64) $$;

set local role service_role;

select ok(not public.is_requested_by(pg_temp.alice(), pg_temp.one()), 'nobody asked yet');
select is(
    public.begin_request(pg_temp.alice(), pg_temp.one(), 'k'), '{"is_conflict": false, "answer": null}', 'alice asks'
);
select ok(public.is_requested_by(pg_temp.alice(), pg_temp.one()), 'she is told of it');
select ok(not public.is_requested_by(pg_temp.bob(), pg_temp.one()), 'bob is not');
select is(
    public.begin_request(pg_temp.alice(), pg_temp.two(), 'k') ->> 'is_conflict', 'true',
    'her key stands for that picture'
);
select ok(not public.is_requested_by(pg_temp.alice(), pg_temp.two()), 'a conflict is no request');
select is(
    public.begin_request(pg_temp.bob(), pg_temp.two(), 'k') ->> 'is_conflict', 'false',
    'his key of the same name is his'
);

select is(
    public.deliver_generation(pg_temp.alice(), pg_temp.one(), '{"url": "a"}', 'k'), '{"url": "a", "credits": 0}',
    'the picture is delivered, with the credits left'
);
select is(
    public.deliver_generation(pg_temp.alice(), pg_temp.one(), '{"url": "b"}', 'k'), '{"url": "a", "credits": 0}',
    'the first answer stands'
);
select is(
    public.begin_request(pg_temp.alice(), pg_temp.one(), 'k') -> 'answer', '{"url": "a", "credits": 0}',
    'and is given to whoever asks again'
);
select is(
    public.deliver_generation(pg_temp.alice(), pg_temp.two(), '{"url": "c"}', 'k'), '{"url": "c", "credits": 0}',
    'another picture has an answer of its own'
);
select is(
    public.deliver_generation(pg_temp.alice(), pg_temp.one(), '{"url": "d"}', 'unknown'), '{"url": "d", "credits": 0}',
    'so has a key that is forgotten'
);

-- Without a key.
select is(
    public.begin_request(pg_temp.bob(), pg_temp.one()), '{"is_conflict": false, "answer": null}',
    'a request needs no key'
);
select is(public.begin_request(pg_temp.bob(), pg_temp.one()) ->> 'is_conflict', 'false', 'and may be repeated');
select is(
    (select count(*) filter (where k.idempotency_key is null) from copperplate.user_requests as k), 1::bigint,
    'it is remembered once'
);
select throws_ok(
    $$ select public.begin_request(pg_temp.bob(), pg_temp.one(), '') $$, '23514', null, 'an empty key is none'
);
select throws_ok(
    $$ select public.begin_request(pg_temp.bob(), pg_temp.one(), repeat('k', 256)) $$, '23514', null,
    'a long one neither'
);
select throws_ok($$ select public.begin_request(null, pg_temp.one(), 'k') $$, '23502', null, 'nobody asks nothing');

-- A day later.
select public.grant_credits(pg_temp.alice(), 1, 'order 1');
select set_config('copperplate.clock_offset', '1 day 1 second', true);
select is(
    public.begin_request(pg_temp.bob(), pg_temp.one(), 'k'), '{"is_conflict": false, "answer": null}',
    'a key is free again'
);
select is(copperplate.forget_old_requests(1), 1, 'old requests are forgotten, so many at a time');
select is(copperplate.forget_old_requests(100), 1, 'and then the rest');
select ok(not public.is_requested_by(pg_temp.alice(), pg_temp.one()), 'nobody is told of them any more');
select ok(public.is_requested_by(pg_temp.bob(), pg_temp.one()), 'younger ones stay');
select count(public.begin_request(pg_temp.bob(), pg_temp.one(), n::text)) from generate_series(1, 30) as n;
select set_config('copperplate.clock_offset', '2 days 2 seconds', true);
select lives_ok('select public.sweep_generations(2)', 'a sweep forgets them too');
select is_empty('select * from copperplate.user_requests', 'many more than it takes generations');
select set_eq(
    'select a.user_id from copperplate.accounts as a', array[pg_temp.alice()],
    'and the account of who only asked; credits stay'
);

-- Somebody leaves.
select public.begin_request(pg_temp.alice(), pg_temp.one(), 'again');
select ok(public.forget_user(pg_temp.alice()), 'alice is forgotten');
select ok(not public.forget_user(pg_temp.alice()), 'once');
select is_empty('select * from copperplate.user_requests', 'what she asked is gone');
select results_eq(
    'select a.user_id, a.balance from copperplate.accounts as a', 'values (null::uuid, 1::bigint)', 'her sums stay'
);
select is_empty('select * from copperplate.credit_faults', 'and agree');
reset role;

select table_privs_are(
    'copperplate', 'user_requests', 'authenticated', array[]::text[], 'a signed-in person reads no requests'
);
select function_privs_are(
    'copperplate', 'note_user_deleted', array[]::text[], 'service_role', array[]::text[],
    'what runs with its owner''s rights can be called by nobody'
);

select * from finish();
rollback;
