-- What did callers nobody knows spend on each of the last days, against their share, and over how many addresses?
-- Addresses are digests with a salt of the day, and forgotten after two days: null then. One that holds much of the sum
-- is somebody in particular. The share is the one that the day's last picture met, resets included; null is none.
with shared as (
    select
        u.day,
        sum(u.spent_micro_usd) as spent_micro_usd,
        max(u.limit_micro_usd) as limit_micro_usd,
        sum(u.pictures) as pictures,
        max(u.limit_pictures) as limit_pictures
    from copperplate.budget_usage as u
    where u.budget = 'anonymous'
    group by u.day
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
