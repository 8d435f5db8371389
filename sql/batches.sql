-- How far are the batches of the last seven days, the newest first?
select
    b.id,
    b.purpose,
    b.owner,
    b.created_at,
    b.canceled_at,
    count(*) as members,
    count(*) filter (where m.cached) as stored_before,
    count(*) filter (where m.state = 'completed' and not m.cached) as made,
    count(*) filter (where m.state in ('pending', 'generating')) as to_be_made,
    count(*) filter (where m.state = 'failed') as failed,
    count(*) filter (where m.state = 'canceled') as canceled,
    round(b.estimate_micro_usd / 1000000.0, 6) as estimated_usd
from copperplate.batches as b
inner join copperplate.members as m on b.id = m.batch_id
where b.created_at > copperplate.clock() - interval '7 days'
group by b.id
order by b.created_at desc
limit 100;
