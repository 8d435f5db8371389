-- Row-level security: on everywhere, and what a grant alone would not show.
begin;
select plan(30);

select is_empty(
    $$ select c.relname from pg_class as c
       where c.relnamespace in ('public'::regnamespace, 'copperplate'::regnamespace)
           and c.relkind = 'r' and not c.relrowsecurity $$,
    'every table has row-level security'
);
select policies_are('public', 'generation_status', array[]::name[], 'generations are opened to nobody');
select policies_are('copperplate', 'cache_entries', array[]::name[], 'nor are entries');
select policies_are('copperplate', 'public_totals', array['public_totals_are_public'], 'totals have one policy');
select policy_cmd_is('copperplate', 'public_totals', 'public_totals_are_public', 'select', 'it opens reading');
select ok(
    (
        select c.reloptions @> array['security_invoker=true'] from pg_class as c
        where c.oid = 'public.image_cache'::regclass
    ),
    'the view shows its reader no more than the tables do'
);

insert into public.generation_status (
    prompt_hash, kind, recipe, dimensions, model, phase, window_started_at, fence, leader, lease_until, created_at,
    updated_at
)
values (
    repeat('a', 64), 'image', '{}', '64x64', 'm', 'claimed', now(), 1, gen_random_uuid(), now(), now(), now()
);
-- Three tables show a person what is theirs.
insert into copperplate.accounts (id, user_id, balance, held, created_at)
values
('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-00000000a11c', 5, 0, now()),
('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000b0b', 7, 1, now()),
('00000000-0000-4000-8000-000000000003', null, 9, 0, now());
insert into copperplate.credit_ledger (account_id, delta, kind, ref, created_at)
select
    a.id as account_id,
    a.balance as delta,
    'grant' as kind,
    a.id::text as ref,
    a.created_at
from copperplate.accounts as a;
insert into copperplate.reservations (generation_key, kind, account_id, amount, created_at, expires_at)
values (
    repeat('a', 64), 'memoji', '00000000-0000-4000-8000-000000000002', 1, now(), now() + interval '1 minute'
);

create function pg_temp.sign_in(p_claims text)
returns void
language sql
as $$ select set_config('request.jwt.claims', p_claims, true) $$;

select policy_cmd_is('copperplate', 'accounts', 'accounts_are_their_owners', 'select', 'accounts open reading');
select policies_are('copperplate', 'credit_ledger', array['credit_ledger_is_its_owners'], 'so does the ledger');
select policies_are('copperplate', 'reservations', array['reservations_are_their_owners'], 'and reservations');
select policies_are('copperplate', 'user_requests', array[]::name[], 'user requests are opened to nobody');
select policies_are('copperplate', 'wishes', array[]::name[], 'nor are wishes');
select policies_are('copperplate', 'batches', array[]::name[], 'nor are batches');
select policies_are('copperplate', 'event_tokens', array[]::name[], 'nor are tokens of events');
select policies_are('copperplate', 'submits', array[]::name[], 'nor are submits');
select policies_are('copperplate', 'money_totals', array[]::name[], 'nor sums of money');
select policies_are('copperplate', 'usage_batches', array[]::name[], 'nor batches of counts');
select policies_are('copperplate', 'tier_reports', array[]::name[], 'nor what is in tiers');

set local role authenticated;
select pg_temp.sign_in('{"sub": "00000000-0000-4000-8000-00000000a11c"}');
select results_eq(
    'select c.balance, c.available from public.my_credits as c', 'values (5::bigint, 5::bigint)', 'alice sees her own'
);
select results_eq('select l.delta from public.my_credit_ledger as l', 'values (5::bigint)', 'how she came to them');
select is_empty('select * from public.my_generations', 'and that she had nothing made');
select results_eq('select a.balance from copperplate.accounts as a', 'values (5::bigint)', 'the tables show no more');
select results_eq('select l.delta from copperplate.credit_ledger as l', 'values (5::bigint)', 'nor the ledger');
select is_empty('select * from copperplate.reservations', 'nor reservations');
select pg_temp.sign_in('{"sub": "00000000-0000-4000-8000-000000000b0b"}');
select results_eq(
    'select g.prompt_hash, g.status, g.credits from public.my_generations as g',
    $$ values (repeat('a', 64), 'generating', 0::bigint) $$,
    'bob sees what is made for him'
);
select pg_temp.sign_in('{"role": "authenticated"}');
select is_empty('select * from copperplate.accounts', 'a token without a user shows nobody''s account');
select pg_temp.sign_in('{}');
select is_empty('select * from public.my_credit_ledger', 'nor does an empty one');
select throws_ok('update public.my_credits set balance = 100', '42501', null, 'nobody raises their balance');
reset role;
set local role anon;
select throws_ok('select * from public.my_credits', '42501', null, 'anon has no credits to look at');
reset role;

-- Even a person who was handed the table by mistake sees no row.
grant select on public.generation_status to authenticated;
set local role authenticated;
select is_empty('select * from public.generation_status', 'a grant alone shows no generation');
reset role;
set local role service_role;
select isnt_empty('select * from public.generation_status', 'service_role sees it');
reset role;

select * from finish();
rollback;
