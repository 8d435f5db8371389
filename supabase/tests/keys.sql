-- Keys in SQL are the keys of docs/keys.md.
begin;
select plan(8);

select is(
    public.image_cache_key('A beautiful sunset over the sea', 1024, 1024),
    '3ed7e497928c80824cc3ff3ce48549c26f75c151f10b38b639293a284ffb24c3',
    'the generation key of the known recipe'
);
select is(
    public.rendition_cache_key('3ed7e497928c80824cc3ff3ce48549c26f75c151f10b38b639293a284ffb24c3', 'jpg'),
    '51db04f95e0aca7a85207e456fd0dec6086ac143a704c6046dd63ad161c0b4f8',
    'the rendition key of its jpg'
);
select is(
    public.image_cache_key(e'  A  beautiful\tsunset ', 1024, 1024),
    public.image_cache_key('A beautiful sunset', 1024, 1024),
    'white space makes no other picture'
);
select isnt(
    public.image_cache_key('a beautiful sunset', 1024, 1024),
    public.image_cache_key('A beautiful sunset', 1024, 1024),
    'letter case does'
);
select is(
    public.cache_key('{"v": 1, "kind": "x"}'),
    '6f5bba9d4dacac7ef2cdbd5e5cb0ecbb6257ab285209288ad9a04e32123c0101',
    'the key of the smallest recipe'
);
select throws_ok('select public.cache_key(''{"v": 1}'')', 'ZC001', null, 'a recipe without a kind has no key');
select throws_ok('select public.image_cache_key('' '', 64, 64)', 'ZC001', null, 'nor has an empty prompt');
select throws_ok('select public.image_cache_key(''a'', 63, 64)', 'ZC001', null, 'nor has a picture too small');

select * from finish();
rollback;
