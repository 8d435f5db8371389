-- Row-level security: on everywhere, and what a grant alone would not show.
begin;
select plan(8);

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
