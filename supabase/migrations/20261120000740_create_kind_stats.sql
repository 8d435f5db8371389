-- Statistics of one kind.

create function copperplate.sum_totals(p_kind text)
returns table (
    pictures bigint,
    accesses bigint,
    avg_accesses numeric,
    size_bytes bigint,
    stored_bytes bigint,
    hits bigint,
    misses bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select
        coalesce(sum(t.images), 0)::bigint,
        coalesce(sum(t.accesses), 0)::bigint,
        round(coalesce(sum(t.accesses), 0) / nullif(sum(t.images), 0), 2),
        coalesce(sum(t.image_bytes), 0)::bigint,
        coalesce(sum(t.stored_bytes), 0)::bigint,
        coalesce(sum(t.hits), 0)::bigint,
        coalesce(sum(t.misses), 0)::bigint
    from copperplate.public_totals as t
    where t.kind = p_kind;
$$;

comment on function copperplate.sum_totals(text) is
'One row: the public totals of a kind, which anyone may read. stored_bytes include originals that are not shown.';
revoke all on function copperplate.sum_totals(text) from public, anon, authenticated;
grant execute on function copperplate.sum_totals(text) to service_role, anon, authenticated;

create function public.get_kind_stats(p_kind text)
returns table (
    pictures bigint,
    accesses bigint,
    avg_accesses numeric,
    size_bytes bigint,
    stored_bytes bigint,
    hits bigint,
    misses bigint,
    efficiency_percent numeric,
    spent_micro_usd bigint,
    saved_micro_usd bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select t.*, s.efficiency_percent, s.spent_micro_usd, s.saved_micro_usd
    from public.get_savings() as s
    cross join copperplate.sum_totals(s.kind) as t
    where s.kind = p_kind;
$$;

comment on function public.get_kind_stats(text) is
'One row: pictures of a kind that are kept, how often they were used, hits, misses, and money spent and saved in
millionths of a dollar. No row for an unknown kind.';
revoke all on function public.get_kind_stats(text) from public, anon, authenticated;
grant execute on function public.get_kind_stats(text) to service_role;
