-- API keys: kept by digest, found by it, rotated with a grace, revoked together with what they may spend.
begin;
select plan(45);

create function pg_temp.digest(p_name text) returns text language sql as $$
    select encode(sha256(p_name::bytea), 'hex')
$$;
create function pg_temp.make(p_prefix text, p_scopes text[], p_is_visible boolean = false, p_cap bigint = null)
returns jsonb
language sql
as $$
    select public.create_api_key(
        p_prefix, pg_temp.digest(p_prefix), 'shop', 'standard', p_scopes, p_is_visible, p_cap_micro_usd => p_cap
    )
$$;
create function pg_temp.budget(p_prefix text)
returns text
language sql
as $$
    select concat_ws(' ', b.cap_micro_usd, b.cap_pictures)
    from copperplate.api_keys as k
    inner join copperplate.budgets as b on b.name = 'key:' || k.id::text
    where k.prefix = p_prefix
$$;
create function pg_temp.state(p_name text) returns text language sql as $$
    select concat_ws(' ', f.key ->> 'state', round((f.key ->> 'left_ms')::numeric / 60000))
    from public.find_api_key(pg_temp.digest(p_name)) as f (key)
$$;
create function pg_temp.is_just_used() returns boolean language sql as $$
    select k.last_used_at > copperplate.clock() - interval '1 minute'
    from copperplate.api_keys as k
    where k.prefix = 'aaaaaaaa'
$$;
create function pg_temp.pass(p_seconds integer) returns text language sql as $$
    select set_config('copperplate.clock_offset', p_seconds || 's', true)
$$;

select policies_are('copperplate', 'api_keys', array[]::name[], 'keys are opened to nobody');
select columns_are(
    'copperplate', 'api_keys',
    array[
        'id', 'prefix', 'digest', 'previous_digest', 'previous_until', 'name', 'tier', 'scopes', 'is_visible',
        'created_at', 'expires_at', 'revoked_at', 'last_used_at'
    ],
    'a key has no column of its own'
);

set local role service_role;

-- Made.
select is(pg_temp.make('aaaaaaaa', '{generate,purge}') ->> 'name', 'shop', 'a key is made');
select is(pg_temp.budget('aaaaaaaa'), null, 'without a budget of its own');
select is(pg_temp.make('aaaaaaaa', '{generate,purge}') ->> 'prefix', 'aaaaaaaa', 'a repeated call answers the same');
select is((select count(*) from copperplate.api_keys), 1::bigint, 'it is there once');
select throws_ok(
    $$ select public.create_api_key('aaaaaaaa', pg_temp.digest('b'), '', 'standard', '{generate}') $$, 'ZC013', null,
    'a prefix is one key''s'
);
select is(pg_temp.make('visible0', '{generate}', true) ->> 'is_visible', 'true', 'a visible key is made');
select is(pg_temp.budget('visible0'), '0 0', 'nothing is set aside for it');
select is(pg_temp.make('visible5', '{generate}', true, 5) ->> 'cap_micro_usd', '5', 'unless somebody says how much');
select is(pg_temp.make('capped00', '{generate}', false, 0) ->> 'cap_micro_usd', '0', 'a cap of zero is a cap');
select is(
    pg_temp.make('capped99', '{admin}', false, 1000000000000000) ->> 'cap_micro_usd', '1000000000000000',
    'the largest there is'
);
select throws_ok($$ select pg_temp.make('cccccccc', '{generate}', false, -1) $$, 'ZC013', null, 'no cap below zero');
select throws_ok($$ select pg_temp.make('cccccccc', '{}') $$, '23514', null, 'a key without a scope is refused');
select throws_ok($$ select pg_temp.make('cccccccc', '{root}') $$, '23514', null, 'so is an unknown scope');
select throws_ok(
    $$ select pg_temp.make('cccccccc', '{generate,purge}', true) $$, '23514', null, 'a visible key only generates'
);
select throws_ok($$ select pg_temp.make('cc', '{generate}') $$, '23514', null, 'a prefix has eight characters');
select throws_ok(
    $$ select public.create_api_key('cccccccc', 'cp_cccccccc', '', 'standard', '{generate}') $$, '23514', null,
    'what is no digest is not kept'
);
select throws_ok(
    $$ select public.create_api_key(
        'cccccccc', pg_temp.digest('c'), '', 'standard', '{generate}', p_expires_in => '0'
    ) $$, 'ZC013', null, 'a key is not made expired'
);

-- Found.
select is(public.find_api_key(pg_temp.digest('nobody')), null, 'an unknown digest is nobody''s');
select is(pg_temp.state('aaaaaaaa'), 'active', 'a key is found by its digest');
select ok(pg_temp.is_just_used(), 'its use is noted');
select ok(not public.find_api_key(pg_temp.digest('aaaaaaaa')) ? 'digest', 'no digest is answered');
select pg_temp.pass(3500) is not null as passes;
select is(pg_temp.state('aaaaaaaa'), 'active', 'it is used again within the hour');
select ok(not pg_temp.is_just_used(), 'which writes nothing');
select pg_temp.pass(3700) is not null as passes;
select is(pg_temp.state('aaaaaaaa'), 'active', 'and after it');
select ok(pg_temp.is_just_used(), 'which does');

-- Expired.
select isnt(
    public.create_api_key('expiring', pg_temp.digest('e'), '', 'standard', '{generate}', p_expires_in => '1 day'), null,
    'a key that ends is made'
);
select is(pg_temp.state('e'), 'active 1440', 'it says for how many minutes it is good');
select pg_temp.pass(3700 + 86400) is not null as passes;
select is(pg_temp.state('e'), 'expired 0', 'and ends then');
select is(public.rotate_api_key('expiring', pg_temp.digest('e2'), '0'), null, 'what has ended is not rotated');

-- Rotated.
select is(public.rotate_api_key('nothere0', pg_temp.digest('x'), '0'), null, 'what is not there is not rotated');
select isnt(public.rotate_api_key('aaaaaaaa', pg_temp.digest('a2'), '1 hour'), null, 'a key is rotated');
select isnt(
    public.rotate_api_key('aaaaaaaa', pg_temp.digest('a2'), '1 hour'), null, 'a repeated call changes nothing'
);
select is(pg_temp.state('aaaaaaaa'), 'active 60', 'the old one is good for the grace');
select is(pg_temp.state('a2'), 'active', 'the new one for good');
select pg_temp.pass(7300 + 86400) is not null as passes;
select is(pg_temp.state('aaaaaaaa'), 'rotated 0', 'the grace ends');
select is(pg_temp.state('a2'), 'active', 'and the new one does not');
select isnt(public.rotate_api_key('aaaaaaaa', pg_temp.digest('a3'), '0'), null, 'it is rotated without a grace');
select is(pg_temp.state('a2'), 'rotated 0', 'the old one has ended at once, and says of what');
select is(public.find_api_key(pg_temp.digest('aaaaaaaa')), null, 'the one before it is unknown');

-- Revoked.
select is(public.revoke_api_key('nothere0'), null, 'what is not there is not revoked');
select is(
    array[public.revoke_api_key('aaaaaaaa') ->> 'cap_micro_usd', public.revoke_api_key('visible5') ->> 'cap_pictures'],
    array['0', '0'], 'a key that is revoked has nothing to spend'
);
select is(pg_temp.state('a3'), 'revoked', 'and is found revoked');
select is(
    jsonb_array_length(public.list_api_keys()), (select count(*)::integer from copperplate.api_keys), 'all are listed'
);

select * from finish();
rollback;
