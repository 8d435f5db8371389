-- Every change of a balance.

create table copperplate.credit_ledger (
    id bigint generated always as identity,
    account_id uuid not null,
    -- Credits; the balance of an account is the sum of these.
    delta bigint not null,
    kind text not null,
    -- What it was for: the reservation's id, or the reference given with a grant. Once per kind.
    ref text not null,
    created_at timestamptz not null,
    constraint credit_ledger_pkey primary key (id),
    constraint credit_ledger_account_fkey foreign key (account_id) references copperplate.accounts (id),
    constraint credit_ledger_ref_key unique (kind, ref),
    constraint credit_ledger_kind_is_known check (
        (kind = 'grant' and delta > 0)       -- somebody gave credits
        or (kind = 'settle' and delta < 0)   -- a picture was made
        or (kind = 'refund' and delta > 0)   -- it was gone before it was delivered
    )
);

create index credit_ledger_account_idx on copperplate.credit_ledger (account_id, id);

comment on table copperplate.credit_ledger is
'Every change of a balance, in order. Rows are added and never changed. A person sees the rows of their own account.';

alter table copperplate.credit_ledger enable row level security;
revoke all on table copperplate.credit_ledger from public, anon, authenticated, service_role;
grant select on table copperplate.credit_ledger to authenticated;
grant select, insert on table copperplate.credit_ledger to service_role;

create policy credit_ledger_is_its_owners
on copperplate.credit_ledger
for select
to authenticated
using (
    account_id in (
        select a.id
        from copperplate.accounts as a
        where a.user_id = (select copperplate.signed_in_user())
    )
);

create function copperplate.refuse_change()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    raise exception 'rows of % are never changed', tg_table_name
        using errcode = 'ZC010', hint = 'Add a row that corrects it.';
end;
$$;

comment on function copperplate.refuse_change() is 'Keeps a ledger append-only, for its owner too.';
revoke all on function copperplate.refuse_change() from public, anon, authenticated;
grant execute on function copperplate.refuse_change() to service_role;

create trigger credit_ledger_is_append_only
before update or delete on copperplate.credit_ledger
for each row execute function copperplate.refuse_change();
