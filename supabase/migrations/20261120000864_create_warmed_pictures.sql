-- What warming was good for.
create view public.warmed_pictures
with (security_invoker = true)
as
select
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
where b.purpose = 'warm' and w.status = 'completed' and not w.cached;

comment on view public.warmed_pictures is
'Pictures that were made by warming in the last 90 days, what each was estimated to cost in millionths of a dollar, and
how often it was asked for since.';

revoke all on table public.warmed_pictures from public, anon, authenticated, service_role;
grant select on table public.warmed_pictures to service_role;
