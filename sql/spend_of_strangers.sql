-- What did callers nobody knows spend on each of the last days, against their share, and over how many addresses?
-- Addresses are digests with a salt of the day, and forgotten after two days: null then. One that holds much of the sum
-- is somebody in particular. The share is the one that the day's last picture met, resets included; null is none. Today
-- what stands in copperplate.budgets counts before it: a cap of its own, or else no more than the whole has.
with today as (
    select
        b.name,
        coalesce(
            case when b.override_until > copperplate.clock() then b.override_micro_usd end, b.cap_micro_usd
        ) as cap_micro_usd,
        coalesce(
            case when b.override_until > copperplate.clock() then b.override_pictures end, b.cap_pictures
        ) as cap_pictures,
        coalesce(r.micro_usd, 0) as reset_micro_usd,
        coalesce(r.pictures, 0) as reset_pictures,
        (copperplate.clock() at time zone 'UTC')::date as day
    from copperplate.budgets as b
    left join copperplate.budget_resets as r
        on b.name = r.budget and (copperplate.clock() at time zone 'UTC')::date = r.day
),

used as (
    select
        u.budget,
        u.day,
        sum(u.spent_micro_usd) as spent_micro_usd,
        max(u.limit_micro_usd) as limit_micro_usd,
        sum(u.pictures) as pictures,
        max(u.limit_pictures) as limit_pictures
    from copperplate.budget_usage as u
    where u.budget in ('anonymous', 'all')
    group by u.budget, u.day
),

shared as (
    select
        u.day,
        u.spent_micro_usd,
        u.pictures,
        coalesce(
            own.cap_micro_usd + own.reset_micro_usd,
            least(u.limit_micro_usd, coalesce(whole.cap_micro_usd + whole.reset_micro_usd, w.limit_micro_usd))
        ) as limit_micro_usd,
        coalesce(own.cap_pictures + own.reset_pictures, u.limit_pictures) as limit_pictures
    from used as u
    left join used as w on w.budget = 'all' and u.day = w.day
    left join today as own on own.name = 'anonymous' and u.day = own.day
    left join today as whole on whole.name = 'all' and u.day = whole.day
    where u.budget = 'anonymous'
),

addresses as (
    select
        u.day,
        count(*) as addresses,
        max(u.spent_micro_usd) as most_micro_usd
    from copperplate.budget_usage as u
    where u.budget like 'address:%'
    group by u.day
)

select
    s.day,
    round(s.spent_micro_usd / 1000000.0, 6) as spent_usd,
    round(s.limit_micro_usd / 1000000.0, 6) as share_usd,
    s.pictures,
    s.limit_pictures as share_pictures,
    a.addresses,
    round(a.most_micro_usd / 1000000.0, 6) as most_by_one_usd
from shared as s
left join addresses as a on s.day = a.day
order by s.day desc;
