-- Which signed-in users spent most on each of the last days, and how much might they?
-- What credits paid is in no user's budget. The cap is the one that the day's last request of theirs met, resets
-- included; null is none. Days are UTC and kept for 35 days.
select
    u.day,
    substr(u.budget, 6) as user_id,
    round(sum(u.spent_micro_usd) / 1000000.0, 6) as spent_usd,
    round(max(u.limit_micro_usd) / 1000000.0, 6) as cap_usd,
    sum(u.pictures) as pictures,
    max(u.limit_pictures) as cap_pictures
from copperplate.budget_usage as u
where u.budget like 'user:%'
group by u.day, u.budget
order by u.day desc, spent_usd desc, user_id asc
limit 100;
