-- What did each of the last days cost, and how much might it?
-- Pictures under way are in it with their estimate, until the bill. The cap is the one that the day's last picture met,
-- resets included; null is none. Days are UTC and kept for 35 days; copperplate.submits has every call.
select
    u.day,
    round(sum(u.spent_micro_usd) / 1000000.0, 6) as spent_usd,
    round(max(u.limit_micro_usd) / 1000000.0, 6) as cap_usd,
    round(100.0 * sum(u.spent_micro_usd) / nullif(max(u.limit_micro_usd), 0), 1) as used_percent,
    sum(u.pictures) as pictures,
    max(u.limit_pictures) as cap_pictures
from copperplate.budget_usage as u
where u.budget = 'all'
group by u.day
order by u.day desc;
