-- Budgets: reserved with the lead, booked by the submit, corrected by the bill, given back where nothing was sent.
begin;
select plan(52);

create function pg_temp.recipe(p_prompt text) returns jsonb language sql as $$
    select jsonb_build_object(
        'v', 1, 'kind', 'image', 'prompt', p_prompt, 'width', 64, 'height', 64, 'model', 'm'
    )
$$;

-- What a stranger's miss may spend: 100, of a house with a cap of 1000 a day.
create function pg_temp.spending(p_amount bigint, p_own jsonb default null, p_most integer default null)
returns jsonb language sql as $$
    select jsonb_build_object(
        'amount_micro_usd', p_amount, 'max_in_flight', p_most,
        'budgets', coalesce(p_own, '[
            {"name": "address:192.0.2.1", "share_of": "anonymous", "permille": 600, "is_own": true},
            {"name": "anonymous", "share_of": "all", "permille": 500, "is_own": true}
        ]') || '[
            {"name": "model:p/m", "is_own": false},
            {"name": "provider:p", "is_own": false},
            {"name": "all", "cap_micro_usd": 1000, "is_own": false}
        ]'
    )
$$;

create function pg_temp.acquire(p_prompt text, p_spending jsonb)
returns copperplate.acquire_result language sql as $$
    select public.acquire_generation(
        pg_temp.recipe(p_prompt), public.cache_key(pg_temp.recipe(p_prompt)), repeat('0', 64), gen_random_uuid(),
        '20 seconds', '[]', '{}', p_spending
    )
$$;

create function pg_temp.submit(p_prompt text, p_spending jsonb, p_no integer default 1)
returns copperplate.acquire_result language sql as $$
    select public.begin_submit(g.prompt_hash, g.fence, p_no, 'p', 100, p_spending)
    from public.generation_status as g
    where g.prompt_hash = public.cache_key(pg_temp.recipe(p_prompt))
$$;

create function pg_temp.fail(p_prompt text, p_billed boolean, p_cost bigint default null)
returns boolean language sql as $$
    select public.fail_generation(g.prompt_hash, g.fence, 'transient', '', '0', p_billed, '{}', p_cost)
    from public.generation_status as g
    where g.prompt_hash = public.cache_key(pg_temp.recipe(p_prompt))
$$;

-- As money and pictures; of an address by its kind.
create function pg_temp.used(p_budget text) returns text language sql as $$
    select coalesce(sum(u.spent_micro_usd), 0) || ' ' || coalesce(sum(u.pictures), 0)
    from copperplate.budget_usage as u
    where u.budget = p_budget or (p_budget = 'address' and u.budget like 'address:%')
$$;

set local role service_role;

-- An election and its submit.
select is((pg_temp.acquire('a', pg_temp.spending(100))).outcome, 'lead', 'who has room leads');
select is(pg_temp.used('address'), '100 1', 'its own budgets are reserved: the address,');
select is(pg_temp.used('anonymous'), '100 1', 'and strangers');
select is(pg_temp.used('all'), '0 0', 'the wall is passed by the submit');
select is_empty(
    $$ select from copperplate.budget_usage as u where u.budget like '%192.0.2%' $$, 'no address is stored'
);
select is((pg_temp.submit('a', pg_temp.spending(100))).outcome, 'lead', 'it submits');
select is(pg_temp.used('anonymous'), '100 1', 'what was reserved is booked, not booked again');
select is(pg_temp.used('all'), '100 1', 'and the house''s are');
select is(pg_temp.used('model:p/m'), '100 1', 'its model,');
select is(pg_temp.used('provider:p'), '100 1', 'and its provider');
select is(
    (
        select count(*) from public.generation_status as g
        where g.reserved is not null
    ), 0::bigint,
    'nothing is reserved any more'
);
select is((pg_temp.submit('a', pg_temp.spending(100))).outcome, 'lead', 'said again');
select is(pg_temp.used('all'), '100 1', 'it is booked once');
select is((pg_temp.submit('a', pg_temp.spending(100), 2)).outcome, 'lead', 'a second submit');
select is(pg_temp.used('anonymous') || ', ' || pg_temp.used('all'), '200 2, 200 2', 'is booked like the first');

-- The address has 600 thousandths of 500 thousandths of 1000.
select is((pg_temp.acquire('b', pg_temp.spending(100))).outcome, 'lead', 'the third fits as well');
select results_eq(
    $$ select a.outcome, a.refusal ->> 'reason', a.refusal ->> 'budget', a.refusal -> 'cap_micro_usd',
        a.refusal -> 'left_micro_usd', a.refusal ->> 'retry_after_ms'
    from pg_temp.acquire('c', pg_temp.spending(100)) as a $$,
    $$ values ('refused', 'in_flight', 'address', '300'::jsonb, '0'::jsonb, '5000') $$,
    'the fourth does not, while one is under way that may give it back'
);
select is(
    (select count(*) from public.generation_status), 2::bigint, 'who is refused leaves nothing behind'
);
select ok(pg_temp.fail('b', false), 'one fails');
select is(pg_temp.used('address') || ', ' || pg_temp.used('all'), '200 2, 200 2', 'and gives back what it reserved');
select is((pg_temp.acquire('c', pg_temp.spending(101))).outcome, 'refused', 'a dearer one does not fit all the same');
select is((pg_temp.acquire('c', pg_temp.spending(100))).outcome, 'lead', 'one of the price of that does');
select is((pg_temp.submit('c', pg_temp.spending(100))).outcome, 'lead', 'and submits');
select ok(pg_temp.fail('c', false), 'its submit was free');
select is(pg_temp.used('address') || ', ' || pg_temp.used('all'), '200 2, 200 2', 'and is given back with its picture');
select is((pg_temp.acquire('d', pg_temp.spending(100))).outcome, 'lead', 'another leads');
select is((pg_temp.submit('d', pg_temp.spending(100))).outcome, 'lead', 'and submits');
select ok(pg_temp.fail('d', true, 150), 'it was billed more than was booked');
select is(pg_temp.used('address') || ', ' || pg_temp.used('all'), '350 3, 350 3', 'the bill counts, above the cap too');
select ok(pg_temp.fail('a', true), 'what may have been billed fails');
select is(
    (pg_temp.acquire('e', pg_temp.spending(1))).refusal ->> 'reason', 'used_up', 'then even the least has no room'
);
select is(
    (pg_temp.acquire('e', pg_temp.spending(100, '[{"name": "key:k", "is_own": true}]'))).outcome, 'lead',
    'while a key goes on'
);

-- What operators do.
select is(
    public.set_budget('all', 400, null) -> 'left_micro_usd', '50', 'the wall is set lower: 50 are left'
);
select results_eq(
    $$ select a.outcome, a.refusal ->> 'reason', a.refusal ->> 'budget'
    from pg_temp.submit('e', pg_temp.spending(100, '[{"name": "key:k", "is_own": true}]')) as a $$,
    $$ values ('refused', 'used_up', 'all') $$,
    'a leader whose submit the wall refuses'
);
select results_eq(
    $$ select g.status, g.error_class, g.leader, g.attempt from public.generation_status as g
    where g.prompt_hash = public.cache_key(pg_temp.recipe('e')) $$,
    $$ values ('failed', 'abandoned', null::uuid, 1) $$,
    'gives its lease back, and nothing counts against the picture'
);
select is(pg_temp.used('key:k'), '0 0', 'nor against its key');
select is(
    public.override_budget('all', 500, 4, copperplate.clock() + interval '1 hour') -> 'left_pictures', '1',
    'an override: one more picture'
);
select is(
    (pg_temp.acquire('e', pg_temp.spending(100, '[{"name": "key:k", "is_own": true}]'))).outcome, 'lead', 'one leads,'
);
select results_eq(
    $$ select a.outcome, a.near_caps
    from pg_temp.submit('e', pg_temp.spending(100, '[{"name": "key:k", "is_own": true}]')) as a $$,
    $$ values ('lead', '[{"budget": "all", "permille": 1000}]'::jsonb) $$,
    'submits, and hears that the wall is reached'
);
select is(public.override_budget('all', null, null, null) -> 'override_until', 'null', 'the override ends');
select is(public.reset_budget('all') -> 'left_micro_usd', '300', 'the day begins anew, with what is under way');
select is(public.read_budgets('[{"name": "all"}]') -> 0 -> 'used_micro_usd', '100', 'which alone is used');
select ok(pg_temp.fail('e', false), 'it comes back free');
select results_eq(
    $$ select b -> 'left_micro_usd', b -> 'used_micro_usd' from public.read_budgets('[{"name": "all"}]') as r (s),
    lateral jsonb_array_elements(r.s) as b $$,
    $$ values ('400'::jsonb, '0'::jsonb) $$,
    'and all of the cap is left, no more'
);
select is(pg_temp.used('all'), '350 3', 'while the counter is what was booked');
select throws_ok(
    $$ select public.set_budget('address:192.0.2.1', 1, 1) $$, 'ZC012', null, 'an address has no cap of its own'
);
select throws_ok($$ select public.set_budget('all', -1, null) $$, 'ZC012', null, 'a cap is not negative');
select is(public.set_budget('prepaid/all', 9, null) -> 'cap_micro_usd', '9', 'a prepaid cap beside the daily one');
select is(public.set_budget('prepaid/all', null, null) -> 'cap_micro_usd', 'null', 'it is taken off,');
select is(jsonb_array_length(public.read_budgets('[{"name": "all"}]')), 1, 'and over');
select is(public.audit_budgets() -> 'faults', '[]', 'every counter is the sum of what was booked');
select is(
    (
        select count(*) from jsonb_array_elements(public.list_budgets()) as l
        where l ->> 'budget' = 'address:*'
    ),
    1::bigint,
    'the list has one line for all addresses'
);

select * from finish();
rollback;
