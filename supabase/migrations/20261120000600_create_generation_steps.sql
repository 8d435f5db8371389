-- The leader's steps. Each is one short transaction, carries the fence, and may be repeated. Locks are taken in the
-- order of create_reservations.sql.

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
        null::jsonb, null::integer, null::text, null::integer, null::integer, null::integer
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

-- What a picture's bytes are, and where they lie: the form of an intent.
create function copperplate.upload(
    p_path text, p_digest text, p_size_bytes bigint, p_format text, p_width integer, p_height integer
)
returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'path', p_path, 'digest', p_digest, 'size_bytes', p_size_bytes,
        'format', p_format, 'width', p_width, 'height', p_height
    );
$$;

comment on function copperplate.upload(text, text, bigint, text, integer, integer) is
'An object about to be stored, or just stored, as one value.';
revoke all on function copperplate.upload(text, text, bigint, text, integer, integer)
from public, anon, authenticated;
grant execute on function copperplate.upload(text, text, bigint, text, integer, integer) to service_role;

create function copperplate.add_entry(
    p_key text, p_generation_key text, p_is_original boolean, p_upload jsonb
)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    insert into copperplate.cache_entries (
        key, generation_key, kind, is_original, bucket, path, digest, file_size, format, width, height,
        created_at, last_accessed_at
    )
    select
        p_key, p_generation_key, g.kind, p_is_original, copperplate.bucket_of(g.kind), u.path, u.digest, u.size_bytes,
        u.format, u.width, u.height, copperplate.clock(), copperplate.clock()
    from
        public.generation_status as g,
        jsonb_to_record(p_upload) as u (
            path text, digest text, size_bytes bigint, format text, width integer, height integer
        )
    where g.prompt_hash = p_generation_key
    on conflict (key) do nothing;
$$;

comment on function copperplate.add_entry(text, text, boolean, jsonb) is
'Record a stored object of a generation; an entry that stands already stays.';
revoke all on function copperplate.add_entry(text, text, boolean, jsonb) from public, anon, authenticated;
grant execute on function copperplate.add_entry(text, text, boolean, jsonb) to service_role;

-- Where the generation is gone, so is its kind: noted in every bucket, as what is not there is as good as removed.
create function copperplate.discard_refused(p_generation_key text, p_path text)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    select copperplate.discard_object(k.kind, p_path, p_generation_key)
    from unnest(array['image', 'memoji']) as k (kind)
    where k.kind = coalesce(
        (select g.kind from public.generation_status as g where g.prompt_hash = p_generation_key), k.kind
    );
$$;

comment on function copperplate.discard_refused(text, text) is
'Note the object of a refused write for removal, in the bucket of its generation''s kind; in all where that is gone.';
revoke all on function copperplate.discard_refused(text, text) from public, anon, authenticated;
grant execute on function copperplate.discard_refused(text, text) to service_role;

create function copperplate.add_rendition(p_key text, p_generation_key text, p_upload jsonb)
returns copperplate.verdict
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_stored copperplate.verdict := copperplate.stored(p_key);
begin
    if v_stored.path is null then
        -- Take the object back from among the discarded; once its removal has begun, it is too late.
        delete from copperplate.discarded_objects as d
        using public.generation_status as g
        where
            g.prompt_hash = p_generation_key
            and d.bucket = copperplate.bucket_of(g.kind)
            and d.path = p_upload ->> 'path'
            and d.claimed_until is null;
        if found then
            perform copperplate.add_entry(p_key, p_generation_key, false, p_upload);
            v_stored := copperplate.stored(p_key);
        end if;
    end if;

    -- Somebody was first, or it is too late.
    if v_stored.path is distinct from p_upload ->> 'path' then
        perform copperplate.discard_refused(p_generation_key, p_upload ->> 'path');
    end if;
    return v_stored;
end;
$$;

comment on function copperplate.add_rendition(text, text, jsonb) is
'Record a stored rendition that was written ahead; answers the entry that stands then, or null. What stands not is
discarded.';
revoke all on function copperplate.add_rendition(text, text, jsonb) from public, anon, authenticated;
grant execute on function copperplate.add_rendition(text, text, jsonb) to service_role;

create function copperplate.add_usage(p_usage jsonb, p_more jsonb)
returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_object_agg(summed.unit, summed.amount), '{}')
    from (
        select
            each.key as unit,
            sum(each.value::bigint) as amount
        from (
            select * from jsonb_each_text(p_usage)
            union all
            select * from jsonb_each_text(p_more)
        ) as each
        group by each.key
    ) as summed;
$$;

comment on function copperplate.add_usage(jsonb, jsonb) is 'Two reports of a provider, added up unit by unit.';
revoke all on function copperplate.add_usage(jsonb, jsonb) from public, anon, authenticated;
grant execute on function copperplate.add_usage(jsonb, jsonb) to service_role;

create function public.begin_submit(
    p_key text, p_fence bigint, p_submit_no integer, p_provider text, p_estimate_micro_usd bigint default null
)
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
    v_model text;
    v_path text;
begin
    select g.submit_no, g.provider_request_id, g.kind, g.model, g.intent ->> 'path'
    into v_before, v_job, v_kind, v_model, v_path
    from public.generation_status as g
    where g.prompt_hash = p_key and g.fence = p_fence and g.status in ('pending', 'generating')
    for update;
    -- A job that a dead leader told of late, after this one took over, is there to be collected.
    if not found or v_job is not null or p_submit_no not in (v_before, v_before + 1) then
        return false;
    end if;
    -- Said before: nothing is counted twice, and a late repeat undoes no later step.
    if p_submit_no = v_before then
        return true;
    end if;

    perform copperplate.discard_object(v_kind, v_path, p_key);

    update public.generation_status as g
    set
        status = 'generating',
        phase = 'submitting',
        provider = p_provider,
        submit_no = p_submit_no,
        api_calls_made = g.api_calls_made + 1,
        intent = null,
        started_at = case when v_before = 0 then copperplate.clock() else g.started_at end,
        updated_at = copperplate.clock()
    where g.prompt_hash = p_key;

    insert into copperplate.submits (generation_key, kind, provider, model, sent_at, estimate_micro_usd)
    values (p_key, v_kind, p_provider, v_model, copperplate.clock(), p_estimate_micro_usd);
    insert into copperplate.public_totals (day, kind, api_calls)
    values ((copperplate.clock() at time zone 'UTC')::date, v_kind, 1);
    return true;
end;
$$;

comment on function public.begin_submit(text, bigint, integer, text, bigint) is
'Write ahead that submit p_submit_no of this attempt is about to be sent: money may be out from here on, as much as
p_estimate_micro_usd, millionths of a dollar, null where the price is not known.';

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
        -- Said twice, it is the same job, and as old.
        noted_at = case when g.provider_request_id = p_request_id then g.noted_at else copperplate.clock() end,
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
    p_height integer,
    p_usage jsonb,
    p_rendition_path text default null,
    p_cost_micro_usd bigint default null
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
    -- complete_generation takes it back; a successor makes a rendition of its own.
    perform copperplate.discard_object(v_kind, p_rendition_path, p_key);
    -- The picture is that of the newest submit; said twice, it is the same cost.
    perform copperplate.note_cost(p_key, p_cost_micro_usd);

    update public.generation_status as g
    set
        phase = 'uploading',
        decode_no = 0,
        intent = copperplate.upload(p_path, p_digest, p_size_bytes, p_format, p_width, p_height),
        -- Every submit leaves this phase: while it lasts, the picture is one that was counted.
        provider_usage = case
            when g.phase = 'uploading' then g.provider_usage
            else copperplate.add_usage(g.provider_usage, p_usage)
        end,
        updated_at = copperplate.clock()
    where g.prompt_hash = p_key;
    return true;
end;
$$;

comment on function public.intend_upload(
    text, bigint, text, text, bigint, text, integer, integer, jsonb, text, bigint
) is
'Write ahead where the original is about to be stored, so that a successor can adopt it; and a rendition beside it,
which is removed if it is not completed within the grace.
p_usage, what the provider reported to bill for it, is added up once a submit; p_cost_micro_usd is that in money.';

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
    p_url text,
    -- {key, path, digest, size_bytes, format, width, height}
    p_rendition jsonb default null
)
returns copperplate.verdict
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_provider text;
    v_kind text;
    v_model text;
    v_asked_at timestamptz;
    v_stored copperplate.verdict;
begin
    update public.generation_status as g
    set
        status = 'completed', phase = null, format = p_format, generated_url = p_url,
        leader = null, lease_until = null, intent = null, completed_at = v_now, updated_at = v_now
    where g.prompt_hash = p_key and g.fence = p_fence and g.status = 'generating'
    returning g.provider, g.kind, g.model, g.started_at into v_provider, v_kind, v_model, v_asked_at;

    if not found then
        -- Said before: the same answer. Otherwise we are too late, and our objects belong to nobody,
        -- unless a successor has adopted the original or is about to.
        if exists (
            select from copperplate.cache_entries as e
            where e.key = p_original_key and e.path = p_path
        ) then
            v_stored := copperplate.stored(p_rendition ->> 'key');
            -- A successor may have adopted the original; the rendition is nobody's then.
            if v_stored.path is distinct from p_rendition ->> 'path' then
                perform copperplate.discard_refused(p_key, p_rendition ->> 'path');
            end if;
            return case when v_stored.path is null then copperplate.stored(p_original_key) else v_stored end;
        end if;
        perform copperplate.discard_refused(p_key, p_path)
        where not exists (
            select from public.generation_status as g
            where g.prompt_hash = p_key and g.intent ->> 'path' = p_path
        );
        perform copperplate.discard_refused(p_key, p_rendition ->> 'path');
        return copperplate.stale();
    end if;

    perform copperplate.add_entry(
        p_original_key, p_key, true,
        copperplate.upload(p_path, p_digest, p_size_bytes, p_format, p_width, p_height)
    );
    if p_rendition is not null then
        v_stored := copperplate.add_rendition(p_rendition ->> 'key', p_key, p_rendition);
    end if;
    perform copperplate.note_success(copperplate.services_of(v_provider, v_kind, v_model), v_asked_at);
    perform copperplate.settle_reservation(p_key, p_url);
    insert into copperplate.public_totals (day, kind, completed) values ((v_now at time zone 'UTC')::date, v_kind, 1);
    perform pg_notify('copperplate', p_key);
    return case when v_stored.path is null then copperplate.stored(p_original_key) else v_stored end;
end;
$$;

comment on function public.complete_generation(
    text, bigint, text, text, text, bigint, text, integer, integer, text, jsonb
) is
'Record the stored, verified original, and a stored rendition of it: hit with the entry that stands for the rendition
(the original''s where none does), or stale; a stale leader''s objects are discarded.';

create function public.fail_generation(
    p_key text,
    p_fence bigint,
    p_error_class text,
    p_error_message text,
    p_retry_after interval,
    p_billed boolean,
    p_usage jsonb default '{}',
    p_cost_micro_usd bigint default null
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
    v_kind text;
    v_model text;
begin
    -- A submit that is known to be free is not counted as a billable call; one whose picture was here was billed.
    select
        case when p_billed or g.submit_no = 0 or g.phase = 'uploading' then 0 else 1 end,
        case when g.submit_no > 0 then g.provider end, g.kind, g.model
    into v_uncounted, v_provider, v_kind, v_model
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
        provider_usage = case
            when g.phase = 'uploading' then g.provider_usage
            else copperplate.add_usage(g.provider_usage, p_usage)
        end,
        leader = null,
        lease_until = null,
        updated_at = v_now
    where g.prompt_hash = p_key;

    -- Breakers before reservations, as in complete_generation and acquire_generation.
    perform copperplate.release_probes(copperplate.services_of(v_provider, v_kind, v_model));
    if v_provider is not null then
        perform copperplate.note_failure(v_provider, p_error_class, p_key);
    end if;
    -- Nothing of this attempt is held any longer, and what a free submit was estimated to cost was not spent.
    perform copperplate.give_back_all(array[p_key]);
    perform copperplate.note_cost(p_key, case when v_uncounted > 0 then 0 else p_cost_micro_usd end);
    insert into copperplate.public_totals (day, kind, failures, api_calls)
    values (
        (v_now at time zone 'UTC')::date, v_kind,
        -- A job that is to be collected later has not failed.
        case when p_error_class = 'uncollected' then 0 else 1 end,
        -v_uncounted
    );
    perform pg_notify('copperplate', p_key);
    return true;
end;
$$;

comment on function public.fail_generation(text, bigint, text, text, interval, boolean, jsonb, bigint) is
'Record a negative entry: no new attempt before p_retry_after has passed. What was reserved is released.
p_usage and p_cost_micro_usd are what the provider reported to bill for a picture that is not usable.';

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
    v_stored copperplate.verdict;
begin
    -- Locked before the next statement looks: what took the original away meanwhile is seen.
    perform from public.generation_status as g where g.prompt_hash = p_generation_key for key share;

    -- The original must still be the generation's: a rendition of a picture declared wrong is wrong.
    if exists (
        select from copperplate.cache_entries as o
        where o.generation_key = p_generation_key and o.is_original and o.path = p_original_path
    ) then
        v_stored := copperplate.add_rendition(
            p_key, p_generation_key, copperplate.upload(p_path, p_digest, p_size_bytes, p_format, p_width, p_height)
        );
    else
        perform copperplate.discard_refused(p_generation_key, p_path);
    end if;
    return case when v_stored.path is null then copperplate.stale() else v_stored end;
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

revoke all on function public.begin_submit(text, bigint, integer, text, bigint) from public, anon, authenticated;
revoke all on function public.note_request(text, bigint, text, jsonb) from public, anon, authenticated;
revoke all on function public.heartbeat_generation(text, bigint, interval) from public, anon, authenticated;
revoke all on function public.intend_upload(
    text, bigint, text, text, bigint, text, integer, integer, jsonb, text, bigint
) from public, anon, authenticated;
revoke all on function public.complete_generation(
    text, bigint, text, text, text, bigint, text, integer, integer, text, jsonb
) from public, anon, authenticated;
revoke all on function public.fail_generation(text, bigint, text, text, interval, boolean, jsonb, bigint)
from public, anon, authenticated;
revoke all on function public.intend_rendition(text, text, text) from public, anon, authenticated;
revoke all on function public.record_rendition(text, text, text, text, text, bigint, text, integer, integer)
from public, anon, authenticated;
revoke all on function public.report_missing(text, text) from public, anon, authenticated;

grant execute on function public.begin_submit(text, bigint, integer, text, bigint) to service_role;
grant execute on function public.note_request(text, bigint, text, jsonb) to service_role;
grant execute on function public.heartbeat_generation(text, bigint, interval) to service_role;
grant execute on function public.intend_upload(
    text, bigint, text, text, bigint, text, integer, integer, jsonb, text, bigint
) to service_role;
grant execute on function public.complete_generation(
    text, bigint, text, text, text, bigint, text, integer, integer, text, jsonb
) to service_role;
grant execute on function public.fail_generation(text, bigint, text, text, interval, boolean, jsonb, bigint)
to service_role;
grant execute on function public.intend_rendition(text, text, text) to service_role;
grant execute on function public.record_rendition(text, text, text, text, text, bigint, text, integer, integer)
to service_role;
grant execute on function public.report_missing(text, text) to service_role;
