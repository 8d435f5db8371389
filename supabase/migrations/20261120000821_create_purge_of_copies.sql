-- Copies that are declared wrong in some tiers, while the pictures themselves stay.

create function copperplate.count_copies(p_keys text[])
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'generations', count(distinct e.generation_key) filter (where k.is_public),
        'entries', count(*) filter (where k.is_public),
        'bytes', coalesce(sum(e.file_size) filter (where k.is_public), 0),
        'objects', count(*)
    )
    from copperplate.cache_entries as e
    inner join copperplate.kinds as k on e.kind = k.name
    where p_keys is null or e.generation_key = any(p_keys);
$$;

comment on function copperplate.count_copies(text[]) is
'What tiers may have copies of, of these generations or of all: generations, entries and bytes of public kinds, and
objects of every kind.';
revoke all on function copperplate.count_copies(text[]) from public, anon, authenticated;
grant execute on function copperplate.count_copies(text[]) to service_role;

create function copperplate.reported_copies()
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_object_agg(t.tier, to_jsonb(t) - 'tier'), '{}')
    from (
        select
            r.tier,
            count(*) as places,
            sum(r.entries) as entries,
            sum(r.bytes) as bytes,
            extract(epoch from copperplate.clock() - min(r.reported_at)) as seconds_ago
        from copperplate.tier_reports as r
        where r.reported_at > copperplate.clock() - interval '5 minutes'
        group by r.tier
    ) as t;
$$;

comment on function copperplate.reported_copies() is
'What processes reported of their tiers in the last five minutes: {tier: {places, entries, bytes, seconds_ago}}, the age
of the oldest of these reports.';
revoke all on function copperplate.reported_copies() from public, anon, authenticated;
grant execute on function copperplate.reported_copies() to service_role;

create function copperplate.declare_copies_wrong(p_tiers text[], p_keys text[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_near text[] := array(select t.tier from unnest(p_tiers) as t (tier) where t.tier <> 'cdn');
begin
    if p_keys = '{}' then
        return;
    end if;
    if v_near <> '{}' then
        perform public.invalidate_tiers(v_near, p_keys);
    end if;
    if 'cdn' <> all(p_tiers) then
        return;
    end if;
    if p_keys is null then
        perform copperplate.add_cdn_purges_of_all();
    else
        perform copperplate.add_cdn_purges(
            copperplate.without_private(p_keys),
            (
                select coalesce(jsonb_agg(jsonb_build_array(e.bucket, e.path)), '[]')
                from copperplate.cache_entries as e
                where e.generation_key = any(p_keys)
            )
        );
    end if;
end;
$$;

comment on function copperplate.declare_copies_wrong(text[], text[]) is
'Declare copies in these tiers (memory, disk, redis, cdn) wrong, of these generations or, where they are null, of all.';
revoke all on function copperplate.declare_copies_wrong(text[], text[]) from public, anon, authenticated;
grant execute on function copperplate.declare_copies_wrong(text[], text[]) to service_role;

create function public.purge_copies(
    p_tiers text[],
    p_generation_key text default null,
    p_prompt text default null,
    p_key_prefix text default null,
    p_model text default null,
    p_older_than interval default null,
    p_is_all boolean default false,
    p_dry_run boolean default true
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- Of more than these all copies are dropped: that is less work than naming each.
    c_most constant integer := 1000;
    v_found text[];
    v_keys text[];
begin
    if not p_is_all then
        perform copperplate.check_purge(array[p_generation_key, p_prompt, p_key_prefix, p_model, p_older_than::text]);
        v_found := copperplate.find_to_purge(
            p_generation_key, p_prompt, p_key_prefix, p_model, p_older_than, 2147483647, true
        );
        -- A CDN may still have what the ledger has forgotten.
        if v_found = '{}' and p_generation_key is not null then
            v_found := array[p_generation_key];
        end if;
        v_keys := case when cardinality(v_found) <= c_most then v_found end;
    end if;
    if not p_dry_run then
        perform copperplate.declare_copies_wrong(p_tiers, v_keys);
    end if;
    return copperplate.count_copies(v_found)
        || jsonb_build_object('keys', v_keys, 'reported', copperplate.reported_copies());
end;
$$;

comment on function public.purge_copies(text[], text, text, text, text, interval, boolean, boolean) is
'Declare copies in these tiers (memory, disk, redis, cdn) wrong: of the generations that meet every condition given,
pinned ones too, or of all. The pictures stay. Answers what the ledger has of them: generations, entries, bytes (of
public kinds), objects; keys, null for all: of more than 1,000 generations all copies are dropped; and what processes
reported of all their copies, see reported_copies. A dry run only counts.';
revoke all on function public.purge_copies(text[], text, text, text, text, interval, boolean, boolean)
from public, anon, authenticated;
grant execute on function public.purge_copies(text[], text, text, text, text, interval, boolean, boolean)
to service_role;
