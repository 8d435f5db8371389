-- The leader's steps. Each is one short transaction, carries the fence, and may be repeated.

create function copperplate.stored(p_key text)
returns copperplate.verdict
language sql
stable
security invoker
set search_path = ''
as $$
    select
        'hit', e.key, e.generation_key, e.path, e.digest, e.file_size, e.format, e.width, e.height, e.is_original,
        null::text, null::text, null::bigint, null::uuid, null::integer, null::integer, null::text, null::jsonb,
        null::jsonb, null::integer, null::text, null::integer, null::integer
    from copperplate.cache_entries as e
    where e.key = p_key;
$$;

comment on function copperplate.stored(text) is 'The entry with this key as a hit; null if there is none.';
revoke all on function copperplate.stored(text) from public, anon, authenticated;
grant execute on function copperplate.stored(text) to service_role;

create function copperplate.stale()
returns copperplate.verdict
language sql
immutable
security invoker
set search_path = ''
as $$
    select (jsonb_populate_record(null::copperplate.verdict, '{"outcome": "stale"}')).*;
$$;

comment on function copperplate.stale() is 'The answer to a write whose fence is not the newest.';
revoke all on function copperplate.stale() from public, anon, authenticated;
grant execute on function copperplate.stale() to service_role;

create function public.begin_submit(p_key text, p_fence bigint, p_submit_no integer, p_provider text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_before integer;
    v_job text;
    v_kind text;
    v_path text;
begin
    select g.submit_no, g.provider_request_id, g.kind, g.intent ->> 'path'
    into v_before, v_job, v_kind, v_path
    from public.generation_status as g
    where g.prompt_hash = p_key and g.fence = p_fence and g.status in ('pending', 'generating')
    for update;
    -- The number is set, so a repeated call counts nothing twice. A job that a dead leader told of late,
    -- after this one took over, is there to be collected.
    if not found or v_job is not null or p_submit_no not in (v_before, v_before + 1) then
        return false;
    end if;

    perform copperplate.discard_object(v_kind, v_path, p_key);

    update public.generation_status as g
    set
        status = 'generating',
        phase = 'submitting',
        provider = p_provider,
        submit_no = p_submit_no,
        api_calls_made = g.api_calls_made + (p_submit_no - v_before),
        intent = null,
        started_at = case when v_before = 0 then copperplate.clock() else g.started_at end,
        updated_at = copperplate.clock()
    where g.prompt_hash = p_key;

    if p_submit_no > v_before then
        insert into copperplate.public_totals (day, api_calls)
        values ((copperplate.clock() at time zone 'UTC')::date, 1);
    end if;
    return true;
end;
$$;

comment on function public.begin_submit(text, bigint, integer, text) is
'Write ahead that submit p_submit_no of this attempt is about to be sent: money may be out from here on.';

create function public.note_request(p_key text, p_fence bigint, p_request_id text, p_urls jsonb)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_fence bigint;
begin
    -- An older leader may still tell its id while none is known: it saves a call and leads nowhere.
    update public.generation_status as g
    set
        provider_request_id = p_request_id,
        provider_urls = p_urls,
        phase = case when g.phase = 'submitting' then 'submitted' else g.phase end,
        updated_at = copperplate.clock()
    where
        g.prompt_hash = p_key
        and g.status = 'generating'
        and (g.fence = p_fence or (g.fence > p_fence and g.provider_request_id is null))
    returning g.fence into v_fence;
    return coalesce(v_fence = p_fence, false);
end;
$$;

comment on function public.note_request(text, bigint, text, jsonb) is
'Note the provider''s request id, so that a successor collects the job instead of paying again.';

create function public.begin_decode(p_key text, p_fence bigint, p_decode_no integer)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- Set like the number of a submit, so that a repeated call counts nothing twice.
    update public.generation_status as g
    set decode_no = p_decode_no
    where
        g.prompt_hash = p_key
        and g.fence = p_fence
        and g.status = 'generating'
        and p_decode_no in (g.decode_no, g.decode_no + 1);
    return found;
end;
$$;

comment on function public.begin_decode(text, bigint, integer) is
'Write ahead that the picture is about to be decoded: a leader that dies of it leaves the number behind.';
revoke all on function public.begin_decode(text, bigint, integer) from public, anon, authenticated;
grant execute on function public.begin_decode(text, bigint, integer) to service_role;

create function public.heartbeat_generation(p_key text, p_fence bigint, p_lease interval)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    update public.generation_status as g
    set lease_until = copperplate.clock() + p_lease
    where g.prompt_hash = p_key and g.fence = p_fence and g.status in ('pending', 'generating');
    return found;
end;
$$;

comment on function public.heartbeat_generation(text, bigint, interval) is
'Extend the lease of the holder of p_fence; false tells it to stop.';

create function public.intend_upload(
    p_key text,
    p_fence bigint,
    p_path text,
    p_digest text,
    p_size_bytes bigint,
    p_format text,
    p_width integer,
    p_height integer
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_kind text;
    v_path text;
begin
    select g.kind, g.intent ->> 'path'
    into v_kind, v_path
    from public.generation_status as g
    where g.prompt_hash = p_key and g.fence = p_fence and g.status = 'generating'
    for update;
    if not found then
        return false;
    end if;

    if v_path <> p_path then
        perform copperplate.discard_object(v_kind, v_path, p_key);
    end if;

    update public.generation_status as g
    set
        phase = 'uploading',
        decode_no = 0,
        intent = jsonb_build_object(
            'path', p_path, 'digest', p_digest, 'size_bytes', p_size_bytes,
            'format', p_format, 'width', p_width, 'height', p_height
        ),
        updated_at = copperplate.clock()
    where g.prompt_hash = p_key;
    return true;
end;
$$;

comment on function public.intend_upload(text, bigint, text, text, bigint, text, integer, integer) is
'Write ahead where the original is about to be stored, so that a successor can adopt it.';

create function public.complete_generation(
    p_key text,
    p_fence bigint,
    p_original_key text,
    p_path text,
    p_digest text,
    p_size_bytes bigint,
    p_format text,
    p_width integer,
    p_height integer,
    p_url text
)
returns copperplate.verdict
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_kind text;
    v_provider text;
begin
    update public.generation_status as g
    set
        status = 'completed', phase = null, format = p_format, generated_url = p_url,
        leader = null, lease_until = null, intent = null, completed_at = v_now, updated_at = v_now
    where g.prompt_hash = p_key and g.fence = p_fence and g.status = 'generating'
    returning g.kind, g.provider into v_kind, v_provider;

    if not found then
        -- Said before: the same answer. Otherwise we are too late, and our object belongs to nobody
        -- unless a successor has adopted it or is about to.
        if exists (
            select from copperplate.cache_entries as e
            where e.key = p_original_key and e.path = p_path
        ) then
            return copperplate.stored(p_original_key);
        end if;
        perform copperplate.discard_object('image', p_path, p_key)
        where not exists (
            select from public.generation_status as g
            where g.prompt_hash = p_key and g.intent ->> 'path' = p_path
        );
        return copperplate.stale();
    end if;

    insert into copperplate.cache_entries (
        key, generation_key, kind, is_original, bucket, path, digest, file_size, format, width, height,
        created_at, last_accessed_at
    )
    values (
        p_original_key, p_key, v_kind, true, copperplate.bucket_of(v_kind), p_path, p_digest, p_size_bytes,
        p_format, p_width, p_height, v_now, v_now
    );
    perform copperplate.note_provider_success(v_provider);
    insert into copperplate.public_totals (day, completed) values ((v_now at time zone 'UTC')::date, 1);
    perform pg_notify('copperplate', p_key);
    return copperplate.stored(p_original_key);
end;
$$;

comment on function public.complete_generation(
    text, bigint, text, text, text, bigint, text, integer, integer, text
) is
'Record the stored, verified original: hit with its entry, or stale; a stale leader''s object is discarded.';

create function public.fail_generation(
    p_key text,
    p_fence bigint,
    p_error_class text,
    p_error_message text,
    p_retry_after interval,
    p_billed boolean
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_uncounted integer;
    v_provider text;
begin
    -- A submit that is known to be free is not counted as a billable call.
    select case when p_billed or g.submit_no = 0 then 0 else 1 end, case when g.submit_no > 0 then g.provider end
    into v_uncounted, v_provider
    from public.generation_status as g
    where g.prompt_hash = p_key and g.fence = p_fence and g.status in ('pending', 'generating')
    for update;
    if not found then
        return exists (
            select from public.generation_status as g
            where g.prompt_hash = p_key and g.fence = p_fence and g.status = 'failed'
        );
    end if;

    update public.generation_status as g
    set
        status = 'failed',
        error_class = p_error_class,
        error_message = left(p_error_message, 1000),
        retry_at = v_now + p_retry_after,
        api_calls_made = g.api_calls_made - v_uncounted,
        leader = null,
        lease_until = null,
        updated_at = v_now
    where g.prompt_hash = p_key;

    insert into copperplate.public_totals (day, failures, api_calls)
    values ((v_now at time zone 'UTC')::date, 1, -v_uncounted);
    if v_provider is not null then
        perform copperplate.note_provider_failure(v_provider, p_error_class);
    end if;
    perform pg_notify('copperplate', p_key);
    return true;
end;
$$;

comment on function public.fail_generation(text, bigint, text, text, interval, boolean) is
'Record a negative entry: no new attempt before p_retry_after has passed.';

create function public.intend_rendition(p_generation_key text, p_original_path text, p_path text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform copperplate.discard_object(o.kind, p_path, p_generation_key)
    from copperplate.cache_entries as o
    where o.generation_key = p_generation_key and o.is_original and o.path = p_original_path;
    return found;
end;
$$;

comment on function public.intend_rendition(text, text, text) is
'Write ahead where a rendition is about to be stored: what is not recorded within the grace is removed.
False if the original is no longer the generation''s.';

create function public.record_rendition(
    p_generation_key text,
    p_original_path text,
    p_key text,
    p_path text,
    p_digest text,
    p_size_bytes bigint,
    p_format text,
    p_width integer,
    p_height integer
)
returns copperplate.verdict
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_kind text;
    v_stored copperplate.verdict;
begin
    -- The original must still be the generation's: a rendition of a picture declared wrong is wrong.
    select g.kind
    into v_kind
    from public.generation_status as g
    inner join copperplate.cache_entries as o on g.prompt_hash = o.generation_key
    where g.prompt_hash = p_generation_key and o.is_original and o.path = p_original_path
    for key share of g;

    if found then
        v_stored := copperplate.stored(p_key);
        if v_stored.path = p_path then
            return v_stored;
        end if;

        -- Take the object back from among the discarded; once its removal has begun, it is too late.
        delete from copperplate.discarded_objects as d
        where d.bucket = copperplate.bucket_of(v_kind) and d.path = p_path and d.claimed_until is null;
        if found then
            insert into copperplate.cache_entries (
                key, generation_key, kind, is_original, bucket, path, digest, file_size, format, width, height,
                created_at, last_accessed_at
            )
            values (
                p_key, p_generation_key, v_kind, false, copperplate.bucket_of(v_kind), p_path, p_digest, p_size_bytes,
                p_format, p_width, p_height, v_now, v_now
            )
            on conflict (key) do nothing;
            v_stored := copperplate.stored(p_key);
        end if;
    end if;

    if v_stored.path is distinct from p_path then
        perform copperplate.discard_object('image', p_path, p_generation_key);
    end if;
    if v_stored.path is null then
        return copperplate.stale();
    end if;
    return v_stored;
end;
$$;

comment on function public.record_rendition(text, text, text, text, text, bigint, text, integer, integer) is
'Record a stored rendition; answers the entry that now stands.
Stale if the original changed, or the object was not intended within the grace.';

create function public.report_missing(p_key text, p_path text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_generation_key text;
    v_is_original boolean;
begin
    select e.generation_key, e.is_original
    into v_generation_key, v_is_original
    from copperplate.cache_entries as e
    where e.key = p_key and e.path = p_path;
    if not found then
        return false;
    end if;

    -- Generation first, then entries: the one lock order.
    perform from public.generation_status as g where g.prompt_hash = v_generation_key for update;
    -- Whoever held the lock may have reopened it, and a third may have made it anew.
    if not exists (select from copperplate.cache_entries as e where e.key = p_key and e.path = p_path) then
        return false;
    end if;

    if v_is_original then
        -- Reopened at once the first time; a store that keeps losing pictures must not cost more.
        update public.generation_status as g
        set
            status = 'failed', phase = null, error_class = 'missing_object',
            error_message = 'the stored original is gone or altered', format = null, generated_url = null,
            retry_at = case when g.attempt < 2 then v_now else g.window_started_at + interval '1 day' end,
            completed_at = null, updated_at = v_now
        where g.prompt_hash = v_generation_key and g.status = 'completed';
        delete from copperplate.cache_entries as e where e.generation_key = v_generation_key;
    else
        delete from copperplate.cache_entries as e where e.key = p_key and e.path = p_path;
    end if;
    return true;
end;
$$;

comment on function public.report_missing(text, text) is
'The object of this entry is gone or altered: drop the entry; for an original, reopen the generation.';

revoke all on function public.begin_submit(text, bigint, integer, text) from public, anon, authenticated;
revoke all on function public.note_request(text, bigint, text, jsonb) from public, anon, authenticated;
revoke all on function public.heartbeat_generation(text, bigint, interval) from public, anon, authenticated;
revoke all on function public.intend_upload(text, bigint, text, text, bigint, text, integer, integer)
from public, anon, authenticated;
revoke all on function public.complete_generation(text, bigint, text, text, text, bigint, text, integer, integer, text)
from public, anon, authenticated;
revoke all on function public.fail_generation(text, bigint, text, text, interval, boolean)
from public, anon, authenticated;
revoke all on function public.intend_rendition(text, text, text) from public, anon, authenticated;
revoke all on function public.record_rendition(text, text, text, text, text, bigint, text, integer, integer)
from public, anon, authenticated;
revoke all on function public.report_missing(text, text) from public, anon, authenticated;

grant execute on function public.begin_submit(text, bigint, integer, text) to service_role;
grant execute on function public.note_request(text, bigint, text, jsonb) to service_role;
grant execute on function public.heartbeat_generation(text, bigint, interval) to service_role;
grant execute on function public.intend_upload(text, bigint, text, text, bigint, text, integer, integer)
to service_role;
grant execute on function public.complete_generation(
    text, bigint, text, text, text, bigint, text, integer, integer, text
) to service_role;
grant execute on function public.fail_generation(text, bigint, text, text, interval, boolean) to service_role;
grant execute on function public.intend_rendition(text, text, text) to service_role;
grant execute on function public.record_rendition(text, text, text, text, text, bigint, text, integer, integer)
to service_role;
grant execute on function public.report_missing(text, text) to service_role;
