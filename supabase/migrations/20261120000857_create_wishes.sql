-- Wishes: what was promised to be made although nobody waits. A wish is only a reminder: what it costs is settled by
-- acquire_generation, so a wish that is carried out twice is a hit the second time.
--
--   make_wish, create_batch        take_wishes                        settle_wish
--   ───────────────────────► open ─────────────► open, held_until ─────────────────► completed, failed, canceled
--                             ▲                      │
--                             └── settle_wish: retry_at; or the hold is over and nobody leads the generation
create table copperplate.wishes (
    id bigint generated always as identity,
    batch_id uuid,
    -- Of a member of a batch, from 0.
    position integer,
    -- As budgets name payers; 'forgotten' of a user who is forgotten.
    owner text not null,
    generation_key text not null,
    kind text not null,
    recipe jsonb not null,
    -- As acquire_generation takes it; it names no address.
    spending jsonb,
    charge_user uuid,
    charge_credits integer,
    -- The smaller, the more urgent.
    priority integer not null,
    status text not null default 'open',
    -- Why it failed, as callers are told.
    code text,
    -- How often it was taken.
    tries integer not null default 0,
    -- Until then whoever took it is at work; longer, while the generation is under a live lease. It stands when its
    -- holder died; of what is put back, only where something was paid.
    held_until timestamptz,
    -- The pause of its last try.
    retry_at timestamptz,
    due_at timestamptz not null generated always as (
        greatest(created_at, held_until, retry_at)
    ) stored,
    -- Path and query of every form asked for, the first one first.
    paths jsonb not null default '[]',
    -- What the caller sent to be told again.
    echo jsonb not null default '{}',
    -- Stored before the batch was.
    cached boolean not null default false,
    created_at timestamptz not null,
    settled_at timestamptz,
    -- When a settled wish may be removed.
    forget_at timestamptz,
    constraint wishes_pkey primary key (id),
    constraint wishes_batch_fkey foreign key (batch_id) references copperplate.batches (id) on delete cascade,
    constraint wishes_position_key unique (batch_id, position),
    constraint wishes_member_key unique (batch_id, generation_key),
    constraint wishes_generation_key_is_sha256 check (generation_key ~ '^[0-9a-f]{64}$'),
    constraint wishes_status_is_known check (
        status in (
            'open',      -- to be made
            'completed', -- its original is stored
            'failed',    -- asking later does not help, or it was not made within a day
            'canceled'   -- withdrawn: its batch was canceled, or its caller was answered without it
        )
    ),
    constraint wishes_settled_has_end check (
        (status <> 'open') = (settled_at is not null) and (status <> 'open') = (forget_at is not null)
    ),
    constraint wishes_failed_has_code check ((status = 'failed') = (code is not null)),
    constraint wishes_member_has_position check ((batch_id is null) = (position is null)),
    constraint wishes_charge_is_whole check ((charge_user is null) = (charge_credits is null)),
    constraint wishes_tries_are_not_negative check (tries >= 0)
) with (fillfactor = 85);

create index wishes_open_idx
on copperplate.wishes (priority, (batch_id is not null), due_at, id)
where status = 'open';
-- Whether anything is due is asked with every write of usage, also where thousands that are open have to wait.
create index wishes_due_idx on copperplate.wishes (due_at) where status = 'open';
create index wishes_held_idx on copperplate.wishes (held_until) where status = 'open' and held_until is not null;
create index wishes_age_idx on copperplate.wishes (created_at) where status = 'open';
create index wishes_open_generation_idx on copperplate.wishes (generation_key) where status = 'open';
-- How many an owner has.
create index wishes_open_owner_idx on copperplate.wishes (owner) where status = 'open' and owner <> 'owner';
create unique index wishes_single_idx
on copperplate.wishes (owner, generation_key)
where status = 'open' and batch_id is null;
-- Of single ones: a batch is forgotten whole.
create index wishes_forget_idx on copperplate.wishes (forget_at) where forget_at is not null and batch_id is null;
-- For the deletion of a user, and for whom a generation is told.
create index wishes_user_idx on copperplate.wishes (owner, generation_key) where owner like 'user:%';

comment on table copperplate.wishes is
'What was promised to be made although nobody waits: one row per generation and caller, members of batches included.
Row-level security is on without a policy: only service_role and the owner see rows.';
comment on column copperplate.wishes.code is 'Why it failed: the code of the error that its caller would have got.';
comment on column copperplate.wishes.due_at is 'From then on it may be taken, while nobody leads its generation.';

alter table copperplate.wishes enable row level security;
revoke all on table copperplate.wishes from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.wishes to service_role;

create function copperplate.owner_to_keep(p_owner text)
returns text
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- A token outlives its user by up to an hour. Whoever forgets the user waits for this transaction.
    perform copperplate.hold_user(jsonb_build_object('budgets', jsonb_build_array(jsonb_build_object('name', p_owner))));
    if copperplate.is_forgotten(p_owner) then
        return 'forgotten';
    end if;
    return p_owner;
end;
$$;

comment on function copperplate.owner_to_keep(text) is
'The owner to write down: as given, or forgotten, for a user who was forgotten.';
revoke all on function copperplate.owner_to_keep(text) from public, anon, authenticated;
grant execute on function copperplate.owner_to_keep(text) to service_role;

create function copperplate.check_recipe(p_recipe jsonb, p_generation_key text)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    if public.cache_key(p_recipe) is distinct from p_generation_key then
        raise exception 'the generation key is not the key of the recipe'
            using errcode = 'ZC002', hint = 'Send cache_key(p_recipe) as p_generation_key.';
    end if;
    if not exists (select from copperplate.kinds as k where k.name = p_recipe ->> 'kind') then
        raise exception 'unknown kind of picture'
            using errcode = 'ZC003', hint = 'Known kinds are the rows of copperplate.kinds.';
    end if;
end;
$$;

comment on function copperplate.check_recipe(jsonb, text) is
'Raises ZC002 where the key is not the key of the recipe, and ZC003 where nobody knows its kind.';
revoke all on function copperplate.check_recipe(jsonb, text) from public, anon, authenticated;
grant execute on function copperplate.check_recipe(jsonb, text) to service_role;

create function copperplate.check_open_wishes(p_owner text)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    -- The owner of the service may warm as much as the table takes.
    if
        (
            select count(*)
            from copperplate.wishes as w
            where w.owner = p_owner and w.status = 'open' and w.owner <> 'owner'
        ) > 10000
    then
        raise exception 'too many open wishes' using errcode = 'ZC014', hint = 'Wait until some of them are made.';
    end if;
end;
$$;

comment on function copperplate.check_open_wishes(text) is
'Raises ZC014 where more than 10,000 wishes of this owner are open, unless that is owner.';
revoke all on function copperplate.check_open_wishes(text) from public, anon, authenticated;
grant execute on function copperplate.check_open_wishes(text) to service_role;

create function public.make_wish(
    -- {generation_key, recipe, owner, spending, charge_user, charge_credits, priority, paths, echo}
    p_wish jsonb,
    p_held_for interval
)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_owner text := copperplate.owner_to_keep(p_wish ->> 'owner');
    v_is_kept boolean := v_owner = p_wish ->> 'owner';
    v_wish bigint;
begin
    perform copperplate.check_recipe(p_wish -> 'recipe', p_wish ->> 'generation_key');
    insert into copperplate.wishes as w (
        owner, generation_key, kind, recipe, spending, charge_user, charge_credits, priority, paths, echo,
        status, code, held_until, created_at, settled_at, forget_at
    )
    select
        v_owner, n.generation_key, n.recipe ->> 'kind', n.recipe,
        case when v_is_kept then n.spending end,
        case when v_is_kept then n.charge_user end,
        case when v_is_kept then n.charge_credits end,
        n.priority, n.paths, n.echo,
        -- Of a user who was forgotten nothing is made: the budget refuses the one who asks with an old token, too.
        case when v_is_kept then 'open' else 'failed' end,
        case when not v_is_kept then 'spending_refused' end,
        case when v_is_kept then v_now + p_held_for end,
        v_now,
        case when not v_is_kept then v_now end,
        case when not v_is_kept then v_now end
    from jsonb_to_record(p_wish) as n (
        generation_key text, recipe jsonb, spending jsonb, charge_user uuid, charge_credits integer, priority integer,
        paths jsonb, echo jsonb
    )
    on conflict (owner, generation_key) where status = 'open' and batch_id is null do update
    -- Promised anew: it has its day again, and waits for no pause of an earlier try.
    set
        held_until = greatest(w.held_until, excluded.held_until), retry_at = null,
        priority = least(w.priority, excluded.priority), created_at = excluded.created_at
    returning w.id into v_wish;
    perform copperplate.check_open_wishes(v_owner);
    -- One that is held is its maker's to begin.
    if p_held_for <= interval '0' then
        perform pg_notify('copperplate', 'work');
    end if;
    return v_wish;
end;
$$;

comment on function public.make_wish(jsonb, interval) is
'Keep a wish, {generation_key, recipe, owner, spending, charge_user, charge_credits, priority, paths, echo}, and answer
its id; for p_held_for nobody else takes it. An open wish of the same owner for the same generation, outside of batches,
is that wish. Raises ZC002 where the key is not that of the recipe, ZC003 for an unknown kind, ZC014 where more than
10,000 wishes of the owner are open.';
revoke all on function public.make_wish(jsonb, interval) from public, anon, authenticated;
grant execute on function public.make_wish(jsonb, interval) to service_role;
