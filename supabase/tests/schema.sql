-- What the migrations make: tables, the view people know, functions and their first lines.
begin;
select plan(19);

select has_table('public', 'generation_status', 'generations have a table');
select has_view('public', 'image_cache', 'pictures have a view');
select has_table('copperplate', 'cache_entries', 'entries have a table');
select has_table('copperplate', 'discarded_objects', 'objects to remove have a table');
select has_table('copperplate', 'usage_rollups', 'usage has a table');
select has_table('copperplate', 'public_totals', 'public totals have a table');
select has_table('copperplate', 'breakers', 'breakers have a table');

select col_is_pk('public', 'generation_status', 'prompt_hash', 'one row per key');
select col_is_unique('public', 'generation_status', 'id', 'a generation has an id of its own');
select col_is_unique('copperplate', 'cache_entries', array['bucket', 'path'], 'an object belongs to one entry');
select fk_ok(
    'copperplate', 'cache_entries', 'generation_key', 'public', 'generation_status', 'prompt_hash',
    'an entry belongs to a generation'
);
select has_index(
    'copperplate', 'cache_entries', 'cache_entries_original_idx', 'generation_key', 'one original per generation'
);
select columns_are(
    'public', 'image_cache',
    array[
        'prompt_hash', 'generation_hash', 'prompt', 'dimensions', 'format', 'model', 'access_count', 'created_at',
        'last_accessed_at', 'file_size', 'object_path', 'digest',
        'generation_ms', 'payer', 'original_file_size', 'webp_file_size', 'has_c2pa', 'thumbhash', 'color'
    ],
    'the view has the columns people were promised, and others after them'
);
select has_trigger('public', 'image_cache', 'image_cache_delete', 'the view takes deletes');

select function_returns(
    'public', 'acquire_generation',
    array['jsonb', 'text', 'text', 'uuid', 'interval', 'jsonb', 'text[]', 'jsonb'],
    'copperplate.acquire_result', 'acquire answers a verdict'
);
select function_returns('public', 'cleanup_old_generation_status', array['integer'], 'jsonb', 'cleanup answers counts');
select volatility_is('public', 'cache_key', array['jsonb'], 'immutable', 'a key depends on its recipe alone');
select is_empty(
    $$ select p.proname from pg_proc as p
       where p.pronamespace in ('public'::regnamespace, 'copperplate'::regnamespace)
           and not coalesce(p.proconfig @> array['search_path=""'], false)
           and not exists (select from pg_depend as d where d.objid = p.oid and d.deptype = 'e') $$,
    'every function pins its search path'
);
select set_eq(
    $$ select p.proname from pg_proc as p
       where p.pronamespace in ('public'::regnamespace, 'copperplate'::regnamespace) and p.prosecdef $$,
    array['database_id', 'is_lapsed', 'note_user_deleted', 'recorded_migrations'],
    'no function runs with its owner''s rights, but what Auth''s deletions run, and three that answer little'
);

select * from finish();
rollback;
