-- What no row can say, whoever writes it.
begin;
select plan(12);

insert into public.generation_status (
    prompt_hash, kind, recipe, dimensions, model, phase, window_started_at, fence, leader, lease_until, created_at,
    updated_at
)
values (
    repeat('a', 64), 'image', '{}', '64x64', 'm', 'claimed', now(), 1, gen_random_uuid(), now(), now(), now()
);

create function pg_temp.refuses(p_set text, p_name text)
returns text
language plpgsql
as $$
begin
    return throws_matching(
        'update public.generation_status set ' || p_set, 'generation_status_' || p_name, replace(p_name, '_', ' ')
    );
end;
$$;

select pg_temp.refuses($$ prompt_hash = 'abc' $$, 'prompt_hash_is_sha256');
select pg_temp.refuses($$ status = 'done', leader = null, lease_until = null $$, 'status_is_known');
select pg_temp.refuses(
    $$ status = 'failed', leader = null, lease_until = null, error_class = 'transient', retry_at = now(),
       phase = 'thinking' $$,
    'phase_is_known'
);
select pg_temp.refuses($$ phase = 'submitted' $$, 'pending_sent_nothing');
select pg_temp.refuses($$ status = 'generating' $$, 'generating_was_sent');
select pg_temp.refuses($$ leader = null $$, 'live_has_lease');
select pg_temp.refuses($$ status = 'failed', leader = null, lease_until = null $$, 'failed_has_reason');
select pg_temp.refuses(
    $$ status = 'completed', phase = null, leader = null, lease_until = null $$, 'completed_has_original'
);
select pg_temp.refuses($$ api_calls_made = -1 $$, 'counts_are_not_negative');
select pg_temp.refuses(
    $$ status = 'failed', leader = null, lease_until = null, error_class = 'bad luck', retry_at = now() $$,
    'error_class_is_known'
);

create function pg_temp.enter(p_path text, p_is_original boolean default true)
returns void
language sql
as $$
    insert into copperplate.cache_entries (
        key, generation_key, kind, is_original, is_shown, bucket, path, digest, file_size, format, width, height,
        created_at, last_accessed_at
    )
    values (
        encode(sha256(p_path::bytea), 'hex'), repeat('a', 64), 'image', p_is_original, not p_is_original, 'generated-images', p_path,
        repeat('d', 64), 1000, 'png', 64, 64, now(), now()
    )
$$;

select throws_matching(
    $$ select pg_temp.enter('../secret.png') $$, 'cache_entries_path_is_dated_sha256',
    'an object lies by date and digest'
);
select pg_temp.enter('2026/01/' || repeat('d', 64) || '.png');
select throws_matching(
    $$ select pg_temp.enter('2026/02/' || repeat('d', 64) || '.png') $$, 'cache_entries_original_idx',
    'a generation has one original'
);

select * from finish();
rollback;
