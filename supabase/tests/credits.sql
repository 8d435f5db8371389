-- Credits: granted once, held with the lead, settled with the picture, given back until it is delivered.
begin;
select plan(47);

create temporary table pictures as
select
    p.name,
    p.recipe,
    public.cache_key(p.recipe) as key,
    public.rendition_cache_key(public.cache_key(p.recipe), 'original') as original_key
from (
    select
        v.name,
        jsonb_build_object(
            'v', 1, 'kind', 'memoji', 'size', '64x64', 'model', 'm', 'hair', v.name
        ) as recipe
    from (values ('short'), ('long'), ('curly'), ('bob')) as v (name)
) as p;
grant select on pictures to service_role;

create function pg_temp.alice() returns uuid language sql as $$ select '00000000-0000-4000-8000-00000000a11c'::uuid $$;
create function pg_temp.bob() returns uuid language sql as $$ select '00000000-0000-4000-8000-000000000b0b'::uuid $$;

create function pg_temp.ask(p_name text, p_user uuid)
returns setof copperplate.acquire_result
language sql
as $$
    select a.*
    from pictures as p
    cross join lateral public.acquire_generation(
        p.recipe, p.key, p.original_key, gen_random_uuid(), '20 seconds',
        jsonb_build_array(jsonb_build_object('kind', 'credit', 'user_id', p_user, 'amount', 1))
    ) as a
    where p.name = p_name
$$;

create function pg_temp.complete(p_name text, p_digit text)
returns text
language plpgsql
as $$
declare
    v record;
    v_upload jsonb := jsonb_build_object(
        'path', '2026/01/' || repeat(p_digit, 64) || '.png', 'digest', repeat(p_digit, 64), 'size_bytes', 1000,
        'format', 'png', 'width', 64, 'height', 64
    );
begin
    select p.key, p.original_key, g.fence
    into v
    from pictures as p inner join public.generation_status as g on p.key = g.prompt_hash
    where p.name = p_name;
    perform public.begin_submit(v.key, v.fence, 1, 'painter', 5);
    perform public.intend_upload(v.key, v.fence, v_upload, '{}', p_cost_micro_usd => 4);
    return (public.complete_generation(v.key, v.fence, v.original_key, v_upload, 'https://a/' || p_digit)).outcome;
end;
$$;

create function pg_temp.has(p_user uuid)
returns text
language sql
as $$ select (c.c ->> 'balance') || ' ' || (c.c ->> 'held') from public.get_credits(p_user) as c (c) $$;

create function pg_temp.reservation(p_name text)
returns uuid
language sql
as $$
    select r.id from copperplate.reservations as r inner join pictures as p on r.generation_key = p.key
    where p.name = p_name order by r.created_at desc limit 1
$$;

-- All of it with the one role that runs it in production.
set local role service_role;

select is(pg_temp.has(pg_temp.alice()), '0 0', 'nobody has credits before they are granted some');
select is((select a.outcome from pg_temp.ask('short', pg_temp.alice()) as a), 'denied', 'who has none cannot lead');
select is_empty('select * from public.generation_status', 'and leaves no generation behind');

select is(
    public.grant_credits(pg_temp.alice(), 3, 'order 1'), '{"balance": 3, "held": 0, "available": 3}', 'a grant'
);
select is(
    public.grant_credits(pg_temp.alice(), 3, 'order 1') ->> 'balance', '3', 'the same reference counts once'
);
select throws_ok(
    $$ select public.grant_credits(pg_temp.alice(), 4, 'order 1') $$, 'ZC009', null, 'it stands for that amount'
);
select throws_ok(
    $$ select public.grant_credits(pg_temp.bob(), 3, 'order 1') $$, 'ZC009', null, 'and for that user'
);
select throws_ok($$ select public.grant_credits(pg_temp.alice(), 0, 'zero') $$, 'ZC009', null, 'nothing is no grant');
select throws_ok($$ select public.grant_credits(pg_temp.alice(), -1, 'less') $$, 'ZC009', null, 'nor is less');
select throws_ok($$ select public.grant_credits(pg_temp.alice(), null, 'a') $$, 'ZC009', null, 'nor is null');
select throws_ok($$ select public.grant_credits(pg_temp.alice(), 1, '') $$, 'ZC009', null, 'a grant has a reference');
select throws_ok($$ select public.grant_credits(pg_temp.alice(), 1, null) $$, 'ZC009', null, 'it really has');
select throws_ok(
    $$ select public.grant_credits(pg_temp.alice(), 1, 'for ' || upper(pg_temp.alice()::text)) $$, 'ZC009', null,
    'which does not name the user: it outlives them'
);

select is((select a.outcome from pg_temp.ask('short', pg_temp.alice()) as a), 'lead', 'who has one leads');
select is(pg_temp.has(pg_temp.alice()), '3 1', 'it is held');
select is((select a.outcome from pg_temp.ask('short', pg_temp.bob()) as a), 'wait', 'others wait without any');
select is(pg_temp.complete('short', 'a'), 'hit', 'the picture is made');
select is(pg_temp.has(pg_temp.alice()), '2 0', 'it is settled');
select is((select a.outcome from pg_temp.ask('short', pg_temp.alice()) as a), 'hit', 'from now on it is a hit');
select is(pg_temp.has(pg_temp.alice()), '2 0', 'which costs nothing');

select ok(public.refund_credits(pg_temp.reservation('short')), 'what was not delivered can be refunded');
select ok(public.refund_credits(pg_temp.reservation('short')), 'said again, it is the same answer');
select is(pg_temp.has(pg_temp.alice()), '3 0', 'and the same credit');
select ok(not public.refund_credits(gen_random_uuid()), 'a refund of nothing is none');

-- A failure, and an attempt that somebody else pays for.
select is((select a.outcome from pg_temp.ask('long', pg_temp.alice()) as a), 'lead', 'another picture');
select ok(
    (
        select public.fail_generation(g.prompt_hash, g.fence, 'moderated', 'refused', '1 second', true)
        from public.generation_status as g inner join pictures as p on g.prompt_hash = p.key
        where p.name = 'long'
    ),
    'fails'
);
select is(pg_temp.has(pg_temp.alice()), '3 0', 'what it held is released');
select results_eq(
    $$ select r.state, r.closed_at is not null from copperplate.reservations as r
       where r.id = pg_temp.reservation('long') $$,
    $$ values ('released', true) $$,
    'and its reservation closed'
);

-- A dead leader.
select is((select a.outcome from pg_temp.ask('curly', pg_temp.alice()) as a), 'lead', 'a third one');
select set_config('copperplate.clock_offset', '30 seconds', true);
select is((select a.outcome from pg_temp.ask('curly', pg_temp.bob()) as a), 'lead', 'its lease ran out: taken over');
select is(pg_temp.has(pg_temp.alice()), '3 1', 'the successor inherits what was reserved');
select set_config('copperplate.clock_offset', '15 minutes 10 seconds', true);
select lives_ok($$ select public.sweep_generations() $$, 'a sweep after a quarter of an hour');
select is(pg_temp.has(pg_temp.alice()), '3 1', 'leaves it: the successor has its own quarter');
select set_config('copperplate.clock_offset', '16 minutes', true);
select is(pg_temp.has(pg_temp.alice()), '3 0', 'what nobody works on any more is free before any sweep');
select is(public.audit_credits() ->> 'held', '0', 'for an audit too');
reset role;
set local role authenticated;
select set_config('request.jwt.claims', jsonb_build_object('sub', pg_temp.alice())::text, true);
select results_eq(
    'select c.balance, c.held, c.available from public.my_credits as c',
    $$ values (3::bigint, 0::bigint, 3::bigint) $$,
    'and for the person themself'
);
select is(
    (select (array_agg(m.status order by m.created_at desc))[1] from public.my_generations as m), 'failed',
    'to whom it is a picture that failed'
);
reset role;
set local role service_role;
select lives_ok($$ select public.sweep_generations() $$, 'a later sweep');
select is(pg_temp.has(pg_temp.alice()), '3 0', 'releases it');

-- Gone before it was delivered.
select is((select a.outcome from pg_temp.ask('bob', pg_temp.alice()) as a), 'lead', 'a fourth one');
select is(pg_temp.complete('bob', 'c'), 'hit', 'is made');
select lives_ok(
    $$ delete from public.memoji_cache where prompt_hash = (select p.key from pictures as p where p.name = 'bob') $$,
    'and declared wrong before anybody was told'
);
select is(pg_temp.has(pg_temp.alice()), '3 0', 'it is refunded');

select is(
    public.audit_credits() - 'faults',
    '{"accounts": 1, "balance": 3, "held": 0, "granted": 3, "settled": 2, "refunded": 2}', 'the sums'
);
select is_empty('select * from copperplate.credit_faults', 'agree');
reset role;

-- A hand that changes a table is found out.
select throws_ok('update copperplate.credit_ledger set delta = delta + 1', 'ZC010', null, 'a ledger is not changed');
update copperplate.accounts
set balance = balance + 1
where user_id = pg_temp.alice();
select results_eq(
    'select f.fault, f.found, f.expected from copperplate.credit_faults as f',
    $$ values ('balance is not the sum of the ledger', 4::numeric, 3::numeric) $$,
    'a balance that somebody raised is a fault'
);

select * from finish();
rollback;
