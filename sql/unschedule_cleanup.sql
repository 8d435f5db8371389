-- CHANGES the schedule: the cleanup that schedule_cleanup.sql began ends.
select
    jobname,
    cron.unschedule(jobname) as is_unscheduled
from cron.job
where jobname in (
    'copperplate-sweep', 'copperplate-cleanup', 'copperplate-memoji', 'copperplate-processed', 'copperplate-failures'
);
