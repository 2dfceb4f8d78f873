-- What steps in transactions of the user's have done: written in those very transactions, so that effect and result are there together
-- or not at all. Kept until the run ends, when its log has had the result for long.
CREATE TABLE outlive.results (
    step_id text COLLATE "C" PRIMARY KEY,
    run text COLLATE "C" NOT NULL,
    result text NOT NULL,
    time double precision NOT NULL
);
CREATE INDEX results_run ON outlive.results (run);
