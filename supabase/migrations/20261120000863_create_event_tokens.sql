-- Who may watch a generation that is not told to everybody. A browser sends no header with a stream of events: its
-- address has a token, and the ledger its digest.
create table copperplate.event_tokens (
    generation_key text not null,
    -- SHA-256 of the token.
    digest text not null,
    expires_at timestamptz not null,
    constraint event_tokens_pkey primary key (generation_key, digest),
    constraint event_tokens_generation_key_is_sha256 check (generation_key ~ '^[0-9a-f]{64}$'),
    constraint event_tokens_digest_is_sha256 check (digest ~ '^[0-9a-f]{64}$')
);

create index event_tokens_expires_idx on copperplate.event_tokens (expires_at);

comment on table copperplate.event_tokens is
'Digests of tokens that permit to watch one generation for some minutes.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.event_tokens enable row level security;
revoke all on table copperplate.event_tokens from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.event_tokens to service_role;

create function public.begin_watch(p_generation_key text, p_digest text, p_valid_for interval)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    insert into copperplate.event_tokens (generation_key, digest, expires_at)
    values (p_generation_key, p_digest, copperplate.clock() + p_valid_for)
    on conflict (generation_key, digest) do update set expires_at = excluded.expires_at;
$$;

comment on function public.begin_watch(text, text, interval) is
'Keep the SHA-256 of a token that permits to watch this generation for p_valid_for.';
revoke all on function public.begin_watch(text, text, interval) from public, anon, authenticated;
grant execute on function public.begin_watch(text, text, interval) to service_role;

create function public.may_watch(p_generation_key text, p_digest text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select exists (
        select from copperplate.event_tokens as t
        where t.generation_key = p_generation_key and t.digest = p_digest and t.expires_at > copperplate.clock()
    );
$$;

comment on function public.may_watch(text, text) is
'Whether a token with this SHA-256 permits to watch this generation now.';
revoke all on function public.may_watch(text, text) from public, anon, authenticated;
grant execute on function public.may_watch(text, text) to service_role;
