-- Batches: kept whole or not at all, told as their generations are, canceled where nothing was paid, forgotten.
begin;
select plan(39);

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

create function pg_temp.batch(p_prompts text[], p_more jsonb default '{}')
returns jsonb
language sql
as $$
    select jsonb_build_object(
        'id', null, 'owner', 'key:1', 'purpose', 'batch', 'thread_id', null, 'idempotency_key', null, 'digest', '',
        'wishes', (
            select jsonb_agg(
                jsonb_build_object(
                    'generation_key', pg_temp.key(p.prompt), 'recipe', pg_temp.recipe(p.prompt), 'priority', 3,
                    'spending',
                    '{"payer": "key:1", "amount_micro_usd": 3000, "max_in_flight": null, "budgets": []}'::jsonb,
                    'charge_user', null, 'charge_credits', null, 'paths', '[]'::jsonb, 'echo', '{}'::jsonb
                )
                order by p.n
            )
            from unnest(p_prompts) with ordinality as p (prompt, n)
        )
    ) || p_more
$$;

create function pg_temp.make(p_prompt text)
returns void
language sql
as $$
    insert into public.generation_status (
        prompt_hash, kind, recipe, prompt, dimensions, model, format, status, window_started_at, fence, created_at,
        updated_at, completed_at, total_requests
    )
    values (
        pg_temp.key(p_prompt), 'image', pg_temp.recipe(p_prompt), p_prompt, '64x64', 'm', 'png', 'completed', now(), 1,
        now(), now(), now(), 1
    )
$$;

create function pg_temp.states(p_batch uuid)
returns text
language sql
as $$
    select string_agg(concat_ws(' ', m.member ->> 'state', m.member ->> 'code'), ', ' order by m.n)
    from jsonb_array_elements(public.list_members(p_batch)) with ordinality as m (member, n)
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

create temporary table made (name text, id uuid);
grant all on table made to service_role;
create function pg_temp.of(p_name text)
returns uuid
language sql
as $$ select m.id from made as m where m.name = p_name $$;

select pg_temp.make('stored');
set local role service_role;

-- Kept whole.
select throws_ok(
    $$ select public.create_batch(
        jsonb_set(pg_temp.batch('{a, b}'), '{wishes,1,generation_key}', to_jsonb(pg_temp.key('c')))
    ) $$,
    'ZC002', null, 'a batch with a key that is not of its recipe is refused'
);
select throws_ok(
    $$ select public.create_batch(pg_temp.batch('{a, a}')) $$, '23505', null, 'and one with a generation twice'
);
select throws_ok(
    $$ select public.create_batch(pg_temp.batch('{a}', '{"purpose": "fun"}')) $$, '23514', null,
    'and one for nothing known'
);
select is((select count(*) from copperplate.batches), 0::bigint, 'nothing of them is kept');
select lives_ok($$ select public.take_down(pg_temp.key('gone')) $$, 'one picture is taken down');
insert into made values (
    'first', public.create_batch(pg_temp.batch('{stored, gone, new}', '{"idempotency_key": "k", "digest": "d"}'))
);
select is(
    pg_temp.states(pg_temp.of('first')), 'completed, failed taken_down, pending',
    'what is stored is completed, what was taken down has failed'
);
select is(
    public.find_batch(pg_temp.of('first')) - array['id', 'created_at'],
    '{"owner": "key:1", "purpose": "batch", "thread_id": null, "canceled_at": null, "estimate_micro_usd": 3000,
    "cached": 1, "is_private": false, "is_led": false, "counts": {"completed": 1, "failed": 1, "pending": 1}}'::jsonb,
    'the batch is told with its counts, and costs what is to be made'
);
select is(public.find_batch(gen_random_uuid()), null, 'a batch that is not known is not told');
select is(public.list_members(gen_random_uuid()), '[]'::jsonb, 'nor are its members');
select is(
    (select count(*) from jsonb_array_elements(public.list_members(pg_temp.of('first'), 0, 1))), 1::bigint,
    'members are told by pages'
);

-- Said twice.
select is(
    public.create_batch(pg_temp.batch('{stored, gone, new}', '{"idempotency_key": "k", "digest": "d"}')),
    pg_temp.of('first'),
    'sent again it is the same'
);
select is(
    public.create_batch(pg_temp.batch('{other}', '{"idempotency_key": "k", "digest": "e"}')), null,
    'the key stands for nothing else'
);
select isnt(
    public.create_batch(pg_temp.batch('{other}', '{"idempotency_key": "k", "digest": "e", "owner": "key:2"}')), null,
    'but for another owner'
);
select is(
    public.create_batch(pg_temp.batch('{other}', jsonb_build_object('id', pg_temp.of('first')))), pg_temp.of('first'),
    'a call that is repeated makes no second batch'
);
select is((select count(*) from copperplate.batches), 2::bigint, 'two were made');

-- As its generations are.
select is(
    (public.acquire_generation(
        pg_temp.recipe('new'), pg_temp.key('new'), repeat('e', 64), gen_random_uuid(), '1 minute'
    )).outcome,
    'lead', 'somebody else makes a member'
);
update public.generation_status as g
set status = 'generating', phase = 'submitting'
where g.prompt_hash = pg_temp.key('new');
select is(pg_temp.states(pg_temp.of('first')), 'completed, failed taken_down, generating', 'it is told as it is');
update public.generation_status as g
set
    status = 'failed', error_class = 'rate_limited', retry_at = copperplate.clock() + '1 minute', leader = null,
    lease_until = null
where g.prompt_hash = pg_temp.key('new');
select is(pg_temp.states(pg_temp.of('first')), 'completed, failed taken_down, pending', 'what may pass is tried again');
update public.generation_status as g
set error_class = 'moderated'
where g.prompt_hash = pg_temp.key('new');
select is(
    pg_temp.states(pg_temp.of('first')), 'completed, failed taken_down, failed moderated',
    'what does not has failed'
);
select pg_temp.move('61 seconds');
select is(
    pg_temp.states(pg_temp.of('first')), 'completed, failed taken_down, pending', 'until it may be tried anew'
);

-- Canceled.
select is(public.cancel_batch(gen_random_uuid()), null, 'a batch that is not known is not canceled');
select public.cancel_batch(b.id) from copperplate.batches as b
where b.owner = 'key:2';
insert into made values ('second', public.create_batch(pg_temp.batch('{taken, paid, new, plain}')));
select public.acquire_generation(
    pg_temp.recipe('paid'), pg_temp.key('paid'), repeat('f', 64), gen_random_uuid(), '1 second'
);
update public.generation_status as g
set status = 'generating', phase = 'submitted'
where g.prompt_hash = pg_temp.key('paid');
update copperplate.wishes as w
set held_until = copperplate.clock() + '1 minute'
where w.batch_id = pg_temp.of('second') and w.generation_key = pg_temp.key('taken');
select pg_temp.move('2 seconds');
select is(
    public.cancel_batch(pg_temp.of('second')), '{"withdrawn": 2, "under_way": 2, "saved_micro_usd": 3000}'::jsonb,
    'what is neither in flight nor paid is withdrawn; what another wishes for saves nothing'
);
select is(
    pg_temp.states(pg_temp.of('second')), 'pending, generating, canceled, canceled', 'the others go on'
);
select is(
    public.cancel_batch(pg_temp.of('second')), '{"withdrawn": 0, "under_way": 2, "saved_micro_usd": 0}'::jsonb,
    'canceled again nothing is left to withdraw'
);
select is(
    public.settle_wish(w.id, 'open'), true, 'a member is put back'
) from copperplate.wishes as w
where w.batch_id = pg_temp.of('second') and w.position = 0;
select is(
    pg_temp.states(pg_temp.of('second')), 'canceled, generating, canceled, canceled',
    'and withdrawn, as nothing was paid'
);
select set_eq(
    $$ select t.wish #>> '{recipe,prompt}' from jsonb_array_elements(public.take_wishes(9, '1 minute')) as t (wish) $$,
    array['new', 'paid'], 'what is paid is taken up'
);
insert into made values ('third', public.create_batch(pg_temp.batch('{held}')));
select public.take_wishes(9, '1 minute');
select is(public.cancel_batch(pg_temp.of('third')) -> 'under_way', '1'::jsonb, 'whoever took it goes on');
select pg_temp.move('61 seconds');
select is_empty(
    $$ select from jsonb_array_elements(public.take_wishes(9, '1 minute')) as t (wish)
       where t.wish #>> '{recipe,prompt}' = 'held' $$,
    'with its taker dead it is not taken again'
);
select is(pg_temp.states(pg_temp.of('third')), 'canceled', 'but withdrawn');

-- A day later the key is free; a week later what was settled is forgotten, and the batch with the last of it.
select pg_temp.move('1 day');
select public.sweep_generations(5);
select isnt(
    public.create_batch(pg_temp.batch('{third}', '{"idempotency_key": "k", "digest": "e"}')), pg_temp.of('first'),
    'the key is free again'
);
insert into made values ('warm', public.create_batch(pg_temp.batch('{stored}', '{"purpose": "warm"}')));
select pg_temp.move('8 days');
select public.sweep_generations(5);
select is(public.find_batch(pg_temp.of('first')), null, 'a batch goes with the last of its members');
select ok(public.find_batch(pg_temp.of('warm')) is not null, 'one that warmed stays');
select pg_temp.move('83 days');
select public.sweep_generations(40);
select is_empty('select * from copperplate.wishes', 'for ninety days');
select is_empty('select * from copperplate.batches', 'then nothing is left');

insert into made values ('halves', public.create_batch(pg_temp.batch('{half, rest}')));
select public.settle_wish(w.id, 'completed') from copperplate.wishes as w
where w.generation_key = pg_temp.key('half');
select pg_temp.move('20 hours');
select public.settle_wish(w.id, 'completed') from copperplate.wishes as w
where w.generation_key = pg_temp.key('rest');
select pg_temp.move('6 days 6 hours');
select public.sweep_generations(40);
select is(
    public.find_batch(pg_temp.of('halves')) -> 'counts', '{"completed": 2}'::jsonb, 'a batch is not forgotten by halves'
);
select pg_temp.move('20 hours');
select public.sweep_generations(40);
select is(public.find_batch(pg_temp.of('halves')), null, 'but whole');

-- Who may.
set local role anon;
select throws_ok($$ select public.find_batch(gen_random_uuid()) $$, '42501', null, 'anon reads no batch');
select throws_ok($$ select public.create_batch('{}') $$, '42501', null, 'and makes none');

select * from finish();
rollback;
