-- Totals that anyone may see: no prompts, no money. Writers only ever insert, so no row is hot;
-- copperplate.fold_totals() merges the rows of a day now and then. Readers add up.
create table copperplate.public_totals (
    day date not null,
    kind text not null,
    requests bigint not null default 0,
    api_calls bigint not null default 0,
    hits bigint not null default 0,
    misses bigint not null default 0,
    -- Of hits and misses: served without a call of their own.
    saved bigint not null default 0,
    failures bigint not null default 0,
    completed bigint not null default 0,
    accesses bigint not null default 0,
    images bigint not null default 0,
    image_bytes bigint not null default 0,
    stored_bytes bigint not null default 0
);

comment on table copperplate.public_totals is
'Sums by day (UTC) and kind, to be added up by the reader. Anyone may read it: the statistics are public.';

alter table copperplate.public_totals enable row level security;
revoke all on table copperplate.public_totals from public, anon, authenticated;
grant select on table copperplate.public_totals to anon, authenticated;
grant select, insert, update, delete on table copperplate.public_totals to service_role;

create policy public_totals_are_public
on copperplate.public_totals
for select
to anon, authenticated
using (true);
