-- API keys: who may do what without a sign-in. A key itself is nowhere here, only its SHA-256.

create table copperplate.api_keys (
    id uuid not null default gen_random_uuid(),
    -- The first eight characters after cp_: what operators and messages name a key by. Public, and kept by rotations.
    prefix text not null,
    -- SHA-256 of the whole key, hex. 256 bits of chance need no slow hash and no salt.
    digest text not null,
    -- Of the key before the last rotation, which is good until then; one that is over says that it was replaced.
    previous_digest text,
    previous_until timestamptz,
    name text not null,
    tier text not null,
    scopes text[] not null,
    -- Stands in pages and addresses for everybody to read: it spends what was set aside for it, nothing else.
    is_visible boolean not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    -- Written once an hour at most: a key of many processes has no hot row.
    last_used_at timestamptz,
    constraint api_keys_pkey primary key (id),
    constraint api_keys_prefix_key unique (prefix),
    constraint api_keys_digest_key unique (digest),
    constraint api_keys_previous_digest_key unique (previous_digest),
    constraint api_keys_prefix_is_eight_characters check (prefix ~ '^[0-9A-Za-z]{8}$'),
    constraint api_keys_digest_is_sha256 check (digest ~ '^[0-9a-f]{64}$'),
    constraint api_keys_previous_digest_is_sha256 check (previous_digest ~ '^[0-9a-f]{64}$'),
    constraint api_keys_previous_digest_ends check ((previous_digest is null) = (previous_until is null)),
    constraint api_keys_name_is_short check (length(name) <= 100),
    constraint api_keys_tier_is_a_word check (tier ~ '^[a-z0-9_-]{1,32}$'),
    constraint api_keys_scopes_are_known check (
        cardinality(scopes) between 1 and 3 and scopes <@ array['generate', 'purge', 'admin']
    ),
    constraint api_keys_visible_only_generate check (not is_visible or scopes = array['generate'])
);

comment on table copperplate.api_keys is
'API keys by the SHA-256 of each, with what it may do. What it may spend is the row key:<id> of copperplate.budgets.
Row-level security is on without a policy: only service_role and the owner see rows.';
comment on column copperplate.api_keys.digest is 'SHA-256 of the whole key, hex; the key itself is kept nowhere.';
comment on column copperplate.api_keys.last_used_at is 'To the hour: written when an hour has passed since.';

alter table copperplate.api_keys enable row level security;
revoke all on table copperplate.api_keys from public, anon, authenticated, service_role;
grant select, insert, update on table copperplate.api_keys to service_role;

create function copperplate.describe_api_key(p_id uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'id', k.id,
        'prefix', k.prefix,
        'name', k.name,
        'tier', k.tier,
        'scopes', k.scopes,
        'is_visible', k.is_visible,
        'created_at', k.created_at,
        'expires_at', k.expires_at,
        'revoked_at', k.revoked_at,
        'last_used_at', k.last_used_at,
        'previous_until', k.previous_until,
        'cap_micro_usd', b.cap_micro_usd,
        'cap_pictures', b.cap_pictures
    )
    from copperplate.api_keys as k
    left join copperplate.budgets as b on b.name = 'key:' || k.id::text
    where k.id = p_id;
$$;

comment on function copperplate.describe_api_key(uuid) is 'A key as it is shown, with its caps and without digests.';
revoke all on function copperplate.describe_api_key(uuid) from public, anon, authenticated;
grant execute on function copperplate.describe_api_key(uuid) to service_role;

create function public.create_api_key(
    p_prefix text,
    p_digest text,
    p_name text,
    p_tier text,
    p_scopes text[],
    p_is_visible boolean default false,
    p_expires_in interval default null,
    p_cap_micro_usd bigint default null,
    p_cap_pictures bigint default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_id uuid;
    v_now timestamptz := copperplate.clock();
begin
    if p_cap_micro_usd < 0 or p_cap_pictures < 0 or p_expires_in <= interval '0' then
        raise exception 'not an API key'
            using errcode = 'ZC013', hint = 'Caps are zero or more, and a key expires later than now.';
    end if;
    insert into copperplate.api_keys (prefix, digest, name, tier, scopes, is_visible, created_at, expires_at)
    values (p_prefix, p_digest, p_name, p_tier, p_scopes, p_is_visible, v_now, v_now + p_expires_in)
    on conflict do nothing
    returning id into v_id;
    if found then
        -- Everybody can read a visible key: nothing is set aside for it until somebody says how much.
        if p_is_visible and p_cap_micro_usd is null and p_cap_pictures is null then
            p_cap_micro_usd := 0;
            p_cap_pictures := 0;
        end if;
        if p_cap_micro_usd is not null or p_cap_pictures is not null then
            insert into copperplate.budgets (name, cap_micro_usd, cap_pictures, updated_at)
            values ('key:' || v_id::text, p_cap_micro_usd, p_cap_pictures, v_now);
        end if;
    else
        -- A repeated call finds what the first one made.
        select k.id into v_id
        from copperplate.api_keys as k
        where k.prefix = p_prefix and k.digest = p_digest;
        if not found then
            raise exception 'this prefix is another key''s'
                using errcode = 'ZC013', hint = 'Make another key.';
        end if;
    end if;
    return copperplate.describe_api_key(v_id);
end;
$$;

comment on function public.create_api_key(text, text, text, text, text[], boolean, interval, bigint, bigint) is
'Keep a key by its prefix and the SHA-256 of the whole of it. A visible one may spend nothing unless a cap is given.
Repeating a call changes nothing.';
revoke all on function public.create_api_key(text, text, text, text, text[], boolean, interval, bigint, bigint)
from public, anon, authenticated;
grant execute on function public.create_api_key(text, text, text, text, text[], boolean, interval, bigint, bigint)
to service_role;

create function public.find_api_key(p_digest text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_key copperplate.api_keys%rowtype;
    v_until timestamptz;
    v_state text;
begin
    select k.* into v_key
    from copperplate.api_keys as k
    where k.digest = p_digest or k.previous_digest = p_digest;
    if not found then
        return null;
    end if;
    -- Nulls are passed over: null where neither ends it.
    v_until := least(v_key.expires_at, case when v_key.previous_digest = p_digest then v_key.previous_until end);
    v_state := case
        when v_key.revoked_at is not null then 'revoked'
        when v_key.expires_at <= v_now then 'expired'
        when v_until <= v_now then 'rotated'
        else 'active'
    end;
    -- Nobody waits for this, and a database that takes no writes still knows its keys.
    if
        v_state = 'active'
        and (v_key.last_used_at is null or v_key.last_used_at <= v_now - interval '1 hour')
        and not current_setting('transaction_read_only')::boolean
    then
        update copperplate.api_keys as k
        set last_used_at = v_now
        where
            k.id in (select u.id from copperplate.api_keys as u where u.id = v_key.id for update skip locked)
            and k.last_used_at is not distinct from v_key.last_used_at;
    end if;
    return copperplate.describe_api_key(v_key.id) || jsonb_build_object(
        'state', v_state, 'left_ms', ceil(extract(epoch from v_until - v_now) * 1000)::bigint
    );
end;
$$;

comment on function public.find_api_key(text) is
'The key with this SHA-256, or null: what it may do, its state (active, expired, revoked, rotated), and in how many
milliseconds it ends, null where it does not. Its use is noted once an hour.';
revoke all on function public.find_api_key(text) from public, anon, authenticated;
grant execute on function public.find_api_key(text) to service_role;

create function public.list_api_keys()
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(copperplate.describe_api_key(k.id) order by k.created_at, k.prefix), '[]'::jsonb)
    from copperplate.api_keys as k;
$$;

comment on function public.list_api_keys() is 'Every key, the oldest first; revoked ones stay listed.';
revoke all on function public.list_api_keys() from public, anon, authenticated;
grant execute on function public.list_api_keys() to service_role;

create function public.rotate_api_key(p_prefix text, p_digest text, p_grace interval)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_id uuid;
    v_now timestamptz := copperplate.clock();
begin
    if p_grace < interval '0' then
        raise exception 'a grace before now' using errcode = 'ZC013', hint = 'Give a grace of zero or more.';
    end if;
    update copperplate.api_keys as k
    set
        digest = p_digest,
        -- Without a grace too: whoever still sends it hears that it was replaced.
        previous_digest = k.digest,
        previous_until = v_now + p_grace
    where
        k.prefix = p_prefix
        and k.digest <> p_digest -- else it is this call, repeated
        and k.revoked_at is null
        and (k.expires_at is null or k.expires_at > v_now);
    select k.id into v_id
    from copperplate.api_keys as k
    where k.prefix = p_prefix and k.digest = p_digest;
    return copperplate.describe_api_key(v_id);
end;
$$;

comment on function public.rotate_api_key(text, text, interval) is
'Replace a key by one with the same prefix, scopes and budget; the old one is good for p_grace more, and the one before
it is not. Null where no such key is in force. Repeating a call changes nothing.';
revoke all on function public.rotate_api_key(text, text, interval) from public, anon, authenticated;
grant execute on function public.rotate_api_key(text, text, interval) to service_role;

create function public.revoke_api_key(p_prefix text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_id uuid;
    v_now timestamptz := copperplate.clock();
begin
    update copperplate.api_keys as k
    set revoked_at = coalesce(k.revoked_at, v_now)
    where k.prefix = p_prefix
    returning k.id into v_id;
    if not found then
        return null;
    end if;
    -- Processes remember the key for some seconds; what they ask for in that time is refused by its budget.
    insert into copperplate.budgets as b (name, cap_micro_usd, cap_pictures, updated_at)
    values ('key:' || v_id::text, 0, 0, v_now)
    on conflict (name) do update
        set
            cap_micro_usd = 0,
            cap_pictures = 0,
            override_micro_usd = null,
            override_pictures = null,
            override_until = null,
            updated_at = v_now;
    return copperplate.describe_api_key(v_id);
end;
$$;

comment on function public.revoke_api_key(text) is
'End a key for good. It spends nothing from this moment on, whoever still remembers it. Null where there is none such.';
revoke all on function public.revoke_api_key(text) from public, anon, authenticated;
grant execute on function public.revoke_api_key(text) to service_role;
