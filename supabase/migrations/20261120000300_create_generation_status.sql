-- One row per generation: what the provider is paid for. Kept while any entry of it exists.
--
--              acquire                begin_submit                note_request
--   (none) ────────────► pending ────────────────► generating ──────────────► generating
--                        claimed                   submitting                 submitted
--                                                      │ (answer at once)         │ collect
--                                                      └───────────┬──────────────┘
--                                                                  ▼ intend_upload
--   failed ◄──── fail_generation ──── any of them             generating
--     │                                                       uploading
--     └── retry_at passed: acquire, a new attempt                  │ complete_generation
--                                                                  ▼
--                                                              completed
--
-- A picture that exists already is given, not submitted: intend_upload takes its generation from pending to uploading.
-- A lease that ran out is taken over by acquire: a higher fence, the same phase.
create table public.generation_status (
    -- The generation's key: SHA-256 of the canonical recipe.
    prompt_hash text not null,
    id uuid not null default gen_random_uuid(),
    kind text not null,
    recipe jsonb not null,
    prompt text,
    dimensions text not null,
    model text not null,
    provider text,
    -- The original's format, null until it is known.
    format text,
    status text not null default 'pending',
    phase text,
    -- The original's public address; null for a private bucket or a store without addresses.
    generated_url text,
    error_class text,
    error_message text,
    retry_at timestamptz,
    total_requests bigint not null default 0,
    api_calls_made integer not null default 0,
    -- Attempts since window_started_at; more than a day later the count begins anew.
    attempt integer not null default 1,
    window_started_at timestamptz not null,
    -- Submits of this attempt, set and never incremented, so a repeated call changes nothing.
    submit_no integer not null default 0,
    -- Decodings of the picture that began and did not end, set like submit_no.
    decode_no integer not null default 0,
    provider_request_id text,
    provider_urls jsonb,
    -- When the provider's job became known: its result is kept for a limited time.
    noted_at timestamptz,
    -- What the provider reported to bill, summed over the submits whose picture arrived: {unit: whole number}.
    provider_usage jsonb not null default '{}',
    -- Where the original is about to be stored: {path, digest, size_bytes, format, width, height}.
    intent jsonb,
    -- What the leader reserved of its caller's own budgets: {day, amount_micro_usd, budgets}.
    reserved jsonb,
    -- Since when no cleanup removes it, nor any picture of it; null while it may grow old.
    pinned_at timestamptz,
    fence bigint not null,
    leader uuid,
    lease_until timestamptz,
    created_at timestamptz not null,
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz not null,
    constraint generation_status_pkey primary key (prompt_hash),
    constraint generation_status_id_key unique (id),
    constraint generation_status_prompt_hash_is_sha256 check (prompt_hash ~ '^[0-9a-f]{64}$'),
    constraint generation_status_status_is_known check (
        status in (
            'pending',     -- somebody leads, nothing was sent
            'generating',  -- money may be out
            'completed',   -- the original is stored and verified
            'failed'       -- a negative entry until retry_at
        )
    ),
    constraint generation_status_phase_is_known check (
        phase in ('claimed', 'submitting', 'submitted', 'uploading')
    ),
    constraint generation_status_pending_sent_nothing check (status <> 'pending' or phase = 'claimed'),
    constraint generation_status_generating_was_sent check (
        status <> 'generating' or phase in ('submitting', 'submitted', 'uploading')
    ),
    constraint generation_status_live_has_lease check (
        (status in ('pending', 'generating')) = (leader is not null and lease_until is not null)
    ),
    constraint generation_status_failed_has_reason check (
        (status = 'failed') = (error_class is not null and retry_at is not null)
    ),
    constraint generation_status_completed_has_original check (
        status <> 'completed' or (format is not null and completed_at is not null)
    ),
    constraint generation_status_live_alone_reserves check (
        reserved is null or status in ('pending', 'generating')
    ),
    constraint generation_status_error_class_is_known check (
        error_class in (
            'moderated', 'invalid', 'rate_limited', 'transient', 'ambiguous', 'bad_output', 'account',
            'abandoned', 'missing_object', 'uncollected', 'lost'
        )
    ),
    constraint generation_status_counts_are_not_negative check (
        total_requests >= 0 and api_calls_made >= 0 and attempt >= 1 and submit_no >= 0
        and decode_no >= 0
    ),
    constraint generation_status_provider_usage_is_small_object check (
        jsonb_typeof(provider_usage) = 'object' and octet_length(provider_usage::text) <= 1000
    )
) with (fillfactor = 70);

-- Leases and counts change often: no index covers a column that heartbeats or hits change, so
-- those updates stay within their page. Rows in flight are few; this finds them for the sweep.
create index generation_status_unfinished_idx
on public.generation_status (status)
where status <> 'completed';
-- Few rows, for a cleanup to look at.
create index generation_status_pinned_idx
on public.generation_status (prompt_hash)
where pinned_at is not null;
-- What is made from a source picture, by its digest.
create index generation_status_source_idx
on public.generation_status ((recipe ->> 'source'))
where kind = 'processed';

comment on table public.generation_status is
'One row per generation: who makes it, how far it got, what it cost, who asked for it.
Row-level security is on without a policy: only service_role and the owner see rows.';
comment on column public.generation_status.prompt_hash is 'The generation''s key: SHA-256 of the canonical recipe.';
comment on column public.generation_status.total_requests is
'Requests for this picture that reached us: leaders, followers and hits, in every format.';
comment on column public.generation_status.api_calls_made is 'Submits to the provider that may be billed.';
comment on column public.generation_status.provider_usage is
'What the provider reported to bill, by its own units (micro_units at fal; text_in, image_in, out tokens at OpenAI),
summed over every submit whose picture arrived. Empty where nothing was reported.';
comment on column public.generation_status.pinned_at is
'Since when no cleanup removes the picture: see pin_picture and unpin_picture.';
comment on column public.generation_status.phase is 'Recovery point: what a successor must assume has happened.';
comment on column public.generation_status.fence is 'Number of the newest lease; writes with an older one are refused.';

alter table public.generation_status enable row level security;
revoke all on table public.generation_status from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.generation_status to service_role;
