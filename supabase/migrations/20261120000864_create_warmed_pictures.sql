-- What warming was good for.
create view public.warmed_pictures
with (security_invoker = true)
as
select distinct on (w.generation_key)
    w.generation_key as prompt_hash,
    w.kind,
    w.recipe ->> 'prompt' as prompt,
    w.settled_at as warmed_at,
    (w.spending ->> 'amount_micro_usd')::bigint as estimate_micro_usd,
    -- Served without a call, of pictures that were made since: also where a cleanup removed the picture.
    coalesce(
        (
            select sum(s.saved)
            from copperplate.submits as s
            where s.generation_key = w.generation_key and s.sent_at >= w.created_at
        ),
        0
    )::bigint as requests_since
from copperplate.batches as b
inner join copperplate.wishes as w on b.id = w.batch_id
where b.purpose = 'warm' and w.status = 'completed' and not w.cached
-- A run that was killed and run again wished for the same picture twice: the first wish had it made.
order by w.generation_key, w.created_at, w.id;

comment on view public.warmed_pictures is
'Pictures that were made by warming in the last 90 days, what each was estimated to cost in millionths of a dollar, and
how often it was asked for since.';

revoke all on table public.warmed_pictures from public, anon, authenticated, service_role;
grant select on table public.warmed_pictures to service_role;

create function public.get_warming_stats()
returns table (
    pictures bigint,
    asked_for bigint,
    requests bigint,
    estimated_micro_usd bigint,
    unused_micro_usd bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select
        count(*),
        count(*) filter (where p.requests_since > 0),
        coalesce(sum(p.requests_since), 0)::bigint,
        coalesce(sum(p.estimate_micro_usd), 0)::bigint,
        coalesce(sum(p.estimate_micro_usd) filter (where p.requests_since = 0), 0)::bigint
    from public.warmed_pictures as p;
$$;

comment on function public.get_warming_stats() is
'How many pictures warming made in the last 90 days, how many of them were asked for since and how often, and what all
of them, and those that nobody asked for, were estimated to cost in millionths of a dollar.';
revoke all on function public.get_warming_stats() from public, anon, authenticated;
grant execute on function public.get_warming_stats() to service_role;
