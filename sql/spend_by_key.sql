-- What has each API key spent today, or of what it was given once and for all, and how much may it spend?
-- A null cap is none of its own: such a key spends what the whole has left. Days are UTC.
with used as (
    select
        u.budget,
        sum(u.spent_micro_usd) as spent_micro_usd,
        sum(u.pictures) as pictures
    from copperplate.budget_usage as u
    where u.budget like '%key:%' and u.day in ((copperplate.clock() at time zone 'UTC')::date, '-infinity')
    group by u.budget
),

caps as (
    select
        b.name,
        coalesce(
            case when b.override_until > copperplate.clock() then b.override_micro_usd end, b.cap_micro_usd
        ) as micro_usd,
        coalesce(
            case when b.override_until > copperplate.clock() then b.override_pictures end, b.cap_pictures
        ) as pictures
    from copperplate.budgets as b
),

named as (
    select
        'key:' || k.id as budget,
        'a day' as per,
        k.id
    from copperplate.api_keys as k
    union all
    select
        'prepaid/key:' || k.id as budget,
        'once' as per,
        k.id
    from copperplate.api_keys as k
    inner join caps as c on 'prepaid/key:' || k.id = c.name
)

select
    k.prefix,
    k.name,
    k.tier,
    case when k.revoked_at is null then 'in force' else 'revoked' end as state,
    n.per,
    round(coalesce(u.spent_micro_usd, 0) / 1000000.0, 6) as spent_usd,
    round(c.micro_usd / 1000000.0, 6) as cap_usd,
    coalesce(u.pictures, 0) as pictures,
    c.pictures as cap_pictures
from named as n
inner join copperplate.api_keys as k on n.id = k.id
left join used as u on n.budget = u.budget
left join caps as c on n.budget = c.name
order by spent_usd desc, k.prefix asc, n.per asc
limit 100;
