-- Signed URLs: HMAC as RFC 4231 says it, one signature for a generation, and what cannot be signed.
begin;
select plan(17);

select is(
    encode(copperplate.hmac_sha256(decode(repeat('0b', 20), 'hex'), 'Hi There'), 'hex'),
    'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
    'RFC 4231, case 1: a short key'
);
select is(
    encode(copperplate.hmac_sha256('Jefe', 'what do ya want for nothing?'), 'hex'),
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    'RFC 4231, case 2: a key shorter than the answer'
);
select is(
    encode(copperplate.hmac_sha256(
        decode(repeat('aa', 131), 'hex'), 'Test Using Larger Than Block-Size Key - Hash Key First'
    ), 'hex'),
    '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
    'RFC 4231, case 6: a key longer than a block'
);
select is(
    encode(copperplate.hmac_sha256('', ''), 'hex'),
    'b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad',
    'an empty key and an empty message'
);

create function pg_temp.signed(p_expires_at timestamptz, p_id text default 'a', p_secret text default repeat('s', 32))
returns text language sql as $$
    select public.sign_generation(repeat('ab', 32), p_id, p_secret, p_expires_at)
$$;

select matches(
    pg_temp.signed('2026-11-30 13:00+00'), '^kid=a&exp=1796043600&sig=[A-Za-z0-9_-]{43}$', 'a signature in its one form'
);
select is(
    pg_temp.signed('2026-11-30 12:00:00.000001+00'), pg_temp.signed('2026-11-30 13:00+00'),
    'an expiry is rounded up to the hour'
);
select isnt(
    pg_temp.signed('2026-11-30 13:00:00.000001+00'), pg_temp.signed('2026-11-30 13:00+00'), 'and not down to it'
);
select isnt(
    right(pg_temp.signed('2026-11-30 13:00+00', 'b'), 43), right(pg_temp.signed('2026-11-30 13:00+00'), 43),
    'the id of the key is signed too'
);

select is(
    copperplate.percent_encode('a é+&=%#/?😀~-._'), 'a%20%C3%A9%2B%26%3D%25%23%2F%3F%F0%9F%98%80~-._',
    'a text as the value of a parameter'
);
select is(
    public.sign_picture_url(
        ' a  fox ', 64, 64, 'a', repeat('s', 32), '2026-11-30 13:00+00', 'png', 'painter', '7', array[]::text[]
    ),
    '/64x64.png?text=a%20fox&model=painter&seed=7&' || public.sign_generation(
        public.image_cache_key('a fox', 64, 64, 'painter', '7'), 'a', repeat('s', 32), '2026-11-30 13:00+00'
    ),
    'a whole address, its text folded and encoded'
);
select alike(
    public.sign_picture_url('a', 64, 64, 'a', repeat('s', 32), '2026-11-30 13:00+00'),
    '/64x64.jpg?text=a&kid=a&exp=1796043600&sig=%',
    'an address names a model and a seed only where they are given'
);

select throws_ok('select pg_temp.signed(''infinity'')', 'ZC001', null, 'what never expires is not signed');
select throws_ok('select pg_temp.signed(''1970-01-01 00:00+00'')', 'ZC001', null, 'nor what expired before 1970');
select throws_ok('select pg_temp.signed(now(), ''A'')', 'ZC001', null, 'nor is anything by a key without an id');
select throws_ok(
    'select pg_temp.signed(now(), ''a'', repeat(''s'', 31))', 'ZC001',
    'A secret has 32 to 1000 ASCII characters, without spaces and commas.', 'nor by a short secret, which is not shown'
);
select throws_ok(
    'select public.sign_picture_url(''a'', 64, 64, ''a'', repeat(''s'', 32), now(), ''gif'')', 'ZC001', null,
    'nor an address of no format'
);
select throws_ok(
    'select public.sign_picture_url(''a'', 63, 64, ''a'', repeat(''s'', 32), now())', 'ZC001', null,
    'nor one that the server would refuse'
);

select * from finish();
rollback;
