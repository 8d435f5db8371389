-- As many generations as {rows}: the first half completed, with an original and a jpg each, so there are
-- as many entries; the other half leased. `answers` is the plain table: the same answers, by key.
set session_replication_role = replica;  -- no triggers: the rows below are consistent by construction
set work_mem = '256MB';
set maintenance_work_mem = '512MB';
alter table public.generation_status drop constraint generation_status_id_key;
alter table copperplate.cache_entries drop constraint cache_entries_object_key;
drop index copperplate.cache_entries_generation_idx;
drop index copperplate.cache_entries_original_idx;
drop index copperplate.cache_entries_shown_idx;

-- In key order, which fills the primary keys' indexes quickest.
create temporary table numbers as
select
    n,
    encode(sha256(n::text::bytea), 'hex') as key,
    encode(sha256(('jpg' || n)::bytea), 'hex') as jpg_key,
    encode(sha256(('original' || n)::bytea), 'hex') as original_key,
    n <= {rows} / 2 as is_completed
from generate_series(1, {rows}) as n;

insert into public.generation_status (
    prompt_hash, kind, recipe, prompt, dimensions, model, provider, format, status, phase, fence, leader,
    lease_until, started_at, completed_at, window_started_at, created_at, updated_at, api_calls_made,
    total_requests, submit_no
)
select
    m.key, 'image',
    jsonb_build_object(
        'v', 1, 'kind', 'image', 'prompt', 'picture number ' || m.n, 'width', 1024, 'height', 1024,
        'model', 'copperplate/painter-1', 'seed', '', 'settings', '[]'::jsonb
    ),
    'picture number ' || m.n, '1024x1024', 'copperplate/painter-1', 'painter',
    case when m.is_completed then 'png' end,
    case when m.is_completed then 'completed' else 'generating' end,
    case when not m.is_completed then 'submitting' end,
    nextval('copperplate.fences'),
    case when not m.is_completed then gen_random_uuid() end,
    case when not m.is_completed then now() + interval '1 day' end,
    now(), case when m.is_completed then now() end, now(), now(), now(), 1, 1, 1
from numbers as m
order by m.key;

insert into copperplate.cache_entries (
    key, generation_key, kind, is_original, is_shown, bucket, path, digest, file_size, format, width, height,
    created_at, last_accessed_at
)
select
    e.key, m.key, 'image', e.format = 'png', e.format = 'jpg', 'generated-images', '2026/01/' || e.key || '.' || e.format,
    e.key, 100000, e.format, 1024, 1024, now() - interval '40 days' + m.n * interval '1 ms', now()
from numbers as m
cross join lateral (values (m.jpg_key, 'jpg'), (m.original_key, 'png')) as e (key, format)
where m.is_completed
order by e.key;

alter table public.generation_status add constraint generation_status_id_key unique (id);
alter table copperplate.cache_entries add constraint cache_entries_object_key unique (bucket, path);
create index cache_entries_generation_idx on copperplate.cache_entries (generation_key);
create unique index cache_entries_original_idx on copperplate.cache_entries (generation_key) where is_original;
create unique index cache_entries_shown_idx on copperplate.cache_entries (generation_key, format) where is_shown;

create table public.answers as
select
    m.key, case when m.is_completed then 'hit' else 'wait' end as outcome, e.key as entry_key, e.generation_key,
    e.path, e.digest, e.file_size, e.format, e.width, e.height, e.is_original,
    g.status, g.phase, g.fence, g.leader, g.attempt, g.submit_no, g.provider_request_id, g.provider_urls,
    g.intent, null::integer as lease_left_ms, g.error_class, null::integer as retry_after_ms
from numbers as m
inner join public.generation_status as g on m.key = g.prompt_hash
left join copperplate.cache_entries as e on m.jpg_key = e.key
order by m.key;
alter table public.answers add primary key (key);

create table public.paths as
select a.key, coalesce(a.path, a.status) as path from public.answers as a order by a.key;
alter table public.paths add primary key (key);

-- The contrast: what an upsert costs when it refuses.
create table public.leases (key text primary key, leader uuid not null, lease_until timestamptz not null);
insert into public.leases
select m.key, gen_random_uuid(), now() + interval '1 day' from numbers as m where not m.is_completed;

grant select on public.answers, public.paths to service_role;
grant select, insert, update on public.leases to service_role;
drop table numbers;
set session_replication_role = origin;
vacuum analyze public.answers;
vacuum analyze public.paths;
vacuum analyze public.leases;
vacuum analyze public.generation_status;
vacuum analyze copperplate.cache_entries;
