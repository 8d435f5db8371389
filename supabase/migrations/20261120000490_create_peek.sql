-- The ledger's answer. `outcome` is hit, lead, wait, negative, free, gone (taken down), denied (the caller cannot pay),
-- refused (by a budget), or stale (a write refused by its fence). The entry's columns are filled for a hit, the
-- generation's where there is a row.
create type copperplate.acquire_result as (
    outcome text,
    kind text,
    entry_key text,
    generation_key text,
    path text,
    digest text,
    file_size bigint,
    format text,
    width integer,
    height integer,
    is_original boolean,
    status text,
    phase text,
    fence bigint,
    leader uuid,
    attempt integer,
    submit_no integer,
    provider_request_id text,
    provider_urls jsonb,
    intent jsonb,
    lease_left_ms integer,
    error_class text,
    retry_after_ms integer,
    decode_no integer,
    job_age_ms integer,
    -- {reason, budget, cap_micro_usd, left_micro_usd, cap_pictures, left_pictures, resets_at, retry_after_ms}
    refusal jsonb,
    encoder_version integer,
    thumbhash text,
    color text,
    -- Of a submit: budgets of which 800 thousandths are used or more, [{budget, permille}].
    near_caps jsonb,
    is_ai_made boolean
);

comment on type copperplate.acquire_result is 'What the ledger answers about one picture.';
revoke all on type copperplate.acquire_result from public, anon, authenticated;
grant usage on type copperplate.acquire_result to service_role;

create function public.peek_generation(p_generation_key text, p_rendition_key text)
returns copperplate.acquire_result
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v copperplate.acquire_result;
    v_now timestamptz;
begin
    -- The asked rendition, by primary key: the common case ends here.
    select
        e.kind, e.key, e.generation_key, e.path, e.digest, e.file_size, e.format, e.width, e.height, e.is_original,
        e.encoder_version, e.thumbhash, e.color, e.is_ai_made
    into
        v.kind, v.entry_key, v.generation_key, v.path, v.digest, v.file_size, v.format, v.width, v.height,
        v.is_original, v.encoder_version, v.thumbhash, v.color, v.is_ai_made
    from copperplate.cache_entries as e
    where e.key = p_rendition_key;
    if found then
        v.outcome := 'hit';
        return v;
    end if;

    -- Only here: of what is taken down nothing is stored, so no hit has to ask.
    if exists (
        select from copperplate.takedowns as t where t.generation_key in (p_generation_key, p_rendition_key)
    ) then
        v.outcome := 'gone';
        return v;
    end if;

    -- Decided inside the query: each expression of this language costs more than the comparison itself.
    v_now := copperplate.clock();
    select
        case
            when g.status = 'failed' and g.retry_at > v_now then 'negative'
            when g.status in ('pending', 'generating') and g.lease_until > v_now then 'wait'
            else 'free'
        end,
        case
            when g.status in ('pending', 'generating') and g.lease_until > v_now
                then least(ceil(extract(epoch from g.lease_until - v_now) * 1000), 2147483647)::integer
        end,
        case
            when g.status = 'failed' and g.retry_at > v_now
                then least(ceil(extract(epoch from g.retry_at - v_now) * 1000), 2147483647)::integer
        end,
        g.kind, g.status, g.phase, g.fence, g.leader, g.attempt, g.submit_no, g.provider_request_id, g.provider_urls,
        g.intent, g.error_class, g.decode_no,
        case
            when g.noted_at is not null
                then least(ceil(extract(epoch from v_now - g.noted_at) * 1000), 2147483647)::integer
        end
    into
        v.outcome, v.lease_left_ms, v.retry_after_ms,
        v.kind, v.status, v.phase, v.fence, v.leader, v.attempt, v.submit_no, v.provider_request_id, v.provider_urls,
        v.intent, v.error_class, v.decode_no, v.job_age_ms
    from public.generation_status as g
    where g.prompt_hash = p_generation_key;

    if v.status = 'completed' then
        -- Another format was asked before: the original is kept, the rendition can be made from it.
        select
            e.kind, e.key, e.generation_key, e.path, e.digest, e.file_size, e.format, e.width, e.height, e.is_original,
            e.encoder_version, e.thumbhash, e.color, e.is_ai_made
        into
            v.kind, v.entry_key, v.generation_key, v.path, v.digest, v.file_size, v.format, v.width, v.height,
            v.is_original, v.encoder_version, v.thumbhash, v.color, v.is_ai_made
        from copperplate.cache_entries as e
        where e.generation_key = p_generation_key and e.is_original;
        if found then
            v.outcome := 'hit';
        end if;
    elsif v.status is null then
        v.outcome := 'free';
    end if;
    return v;
end;
$$;

comment on function public.peek_generation(text, text) is
'Look a picture up without changing anything: hit, wait, negative, gone or free.';
revoke all on function public.peek_generation(text, text) from public, anon, authenticated;
grant execute on function public.peek_generation(text, text) to service_role;
