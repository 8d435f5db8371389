-- Who may watch a generation or a batch that is not told to everybody. A browser sends no header with a stream of
-- events: its address has a token, and the ledger its digest.
create table copperplate.event_tokens (
    -- The key of a generation, or the id of a batch.
    subject text not null,
    -- SHA-256 of the token.
    digest text not null,
    expires_at timestamptz not null,
    constraint event_tokens_pkey primary key (subject, digest),
    constraint event_tokens_subject_is_key_or_batch check (
        subject ~ '^([0-9a-f]{64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$'
    ),
    constraint event_tokens_digest_is_sha256 check (digest ~ '^[0-9a-f]{64}$')
);

create index event_tokens_expires_idx on copperplate.event_tokens (expires_at);

comment on table copperplate.event_tokens is
'Digests of tokens that permit to watch one generation or batch for some minutes.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.event_tokens enable row level security;
revoke all on table copperplate.event_tokens from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.event_tokens to service_role;

create function public.begin_watch(p_subject text, p_digest text, p_valid_for interval)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    insert into copperplate.event_tokens (subject, digest, expires_at)
    values (p_subject, p_digest, copperplate.clock() + p_valid_for)
    on conflict (subject, digest) do update set expires_at = excluded.expires_at;
$$;

comment on function public.begin_watch(text, text, interval) is
'Keep the SHA-256 of a token that permits to watch this generation or batch for p_valid_for.';
revoke all on function public.begin_watch(text, text, interval) from public, anon, authenticated;
grant execute on function public.begin_watch(text, text, interval) to service_role;

create function public.may_watch(p_subject text, p_digest text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select exists (
        select from copperplate.event_tokens as t
        where t.subject = p_subject and t.digest = p_digest and t.expires_at > copperplate.clock()
    );
$$;

comment on function public.may_watch(text, text) is
'Whether a token with this SHA-256 permits to watch this generation or batch now.';
revoke all on function public.may_watch(text, text) from public, anon, authenticated;
grant execute on function public.may_watch(text, text) to service_role;
