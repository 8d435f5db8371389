-- Who may do what. The whole matrix is tests/rights.csv; here are its rules.
begin;
select plan(14);

select table_privs_are('public', 'generation_status', 'anon', array[]::text[], 'anon has no generation');
select table_privs_are('public', 'generation_status', 'authenticated', array[]::text[], 'nor has a signed-in person');
select table_privs_are(
    'public', 'generation_status', 'service_role', array['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
    'service_role works on rows and cannot truncate'
);
select table_privs_are('public', 'image_cache', 'anon', array[]::text[], 'anon has no picture list');
select table_privs_are(
    'public', 'image_cache', 'service_role', array['SELECT', 'DELETE'], 'service_role reads and deletes pictures'
);
select table_privs_are('copperplate', 'public_totals', 'anon', array['SELECT'], 'anon reads the totals and no more');
select sequence_privs_are('copperplate', 'fences', 'anon', array[]::text[], 'anon takes no fence');
select schema_privs_are('copperplate', 'anon', array['USAGE'], 'anon makes nothing in the private schema');

select set_eq(
    $$ select p.proname from pg_proc as p
       where p.pronamespace = 'public'::regnamespace and has_function_privilege('anon', p.oid, 'execute') $$,
    array['get_generation_stats', 'get_cache_stats'],
    'anon calls the two statistics'
);
select set_eq(
    $$ select p.proname from pg_proc as p
       where p.pronamespace = 'public'::regnamespace and has_function_privilege('authenticated', p.oid, 'execute') $$,
    array['get_generation_stats', 'get_cache_stats'],
    'a signed-in person calls the two statistics'
);
select is_empty(
    $$ select p.proname from pg_proc as p
       where p.pronamespace in ('public'::regnamespace, 'copperplate'::regnamespace)
           and not has_function_privilege('service_role', p.oid, 'execute')
           and p.proname not in ('make_buckets', 'note_kind_added', 'note_user_deleted', 'raise_fences') $$,
    'service_role calls every function but the owner''s: those of Auth''s deletions, of a restore and of buckets'
);

set local role anon;
select throws_ok('select public.cleanup_old_cache_entries()', '42501', null, 'anon cleans nothing up');
select throws_ok('delete from public.image_cache', '42501', null, 'anon deletes no picture');
select lives_ok('select * from public.get_generation_stats()', 'anon reads the statistics');
reset role;

select * from finish();
rollback;
