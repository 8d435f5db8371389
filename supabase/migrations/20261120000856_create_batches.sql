-- Batches: many wishes at once. What its members are is in copperplate.wishes.
create table copperplate.batches (
    -- Nobody can guess it: it is the right to see the batch.
    id uuid not null default gen_random_uuid(),
    -- As budgets name payers: user:<id>, key:<id>, link:<key id>, owner.
    owner text not null,
    purpose text not null,
    -- As the caller sent it, to be told again.
    thread_id text,
    -- As the caller sent it; null where none was sent, or a day is over: then it is free again.
    idempotency_key text,
    -- SHA-256 of what was asked under that key.
    digest text not null default '',
    created_at timestamptz not null,
    canceled_at timestamptz,
    -- What members that were not stored when it began cost at most; null where a price is not known.
    estimate_micro_usd bigint,
    -- It has members of a kind that is told to its owner alone.
    is_private boolean not null default false,
    constraint batches_pkey primary key (id),
    constraint batches_idempotency_key unique (owner, idempotency_key),
    constraint batches_idempotency_key_is_short check (length(idempotency_key) between 1 and 255),
    constraint batches_thread_id_is_short check (length(thread_id) <= 200),
    constraint batches_purpose_is_known check (
        purpose in (
            'batch', -- a caller asked for it
            'warm'   -- pictures that are expected to be asked for
        )
    ),
    constraint batches_estimate_is_not_negative check (estimate_micro_usd >= 0)
);

create index batches_created_idx on copperplate.batches (created_at);

comment on table copperplate.batches is
'Many wishes at once, one row each.
Row-level security is on without a policy: only service_role and the owner see rows.';
comment on column copperplate.batches.estimate_micro_usd is
'What members that were not stored when it began cost at most, in millionths of a dollar; null where a price is not
known.';

alter table copperplate.batches enable row level security;
revoke all on table copperplate.batches from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.batches to service_role;
