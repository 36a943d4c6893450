"""A batch job of Slurm that goes back into its queue when it is told to stop."""

from launch import job as jobs
from launch import mistakes

ABOUT = "a batch job of Slurm"
_PORT = "$((20000 + SLURM_JOB_ID % 10000))"
_LEFT_OPEN = ("PATH", "HOME", "USER", "LANG")
"""Variables that a job takes over from whoever submits it, beside its secrets."""


def told(job: jobs.Job, asked: jobs.Asked) -> str:
    """The script, and what submits it."""
    return jobs.shown(f"{job.name}.sh", script(job), ["sbatch", f"{job.name}.sh"])


def start(job: jobs.Job, asked: jobs.Asked) -> int:
    """Submits the job, and returns sbatch's exit code."""
    return jobs.submitted(f"{job.name}.sh", script(job), lambda path: ["sbatch", path])


def script(job: jobs.Job) -> str:
    """What sbatch is given. Raises Mistake for tasks that Slurm could not place."""
    slurm = job.slurm
    if slurm.per not in ("node", "gpu") or (slurm.per == "gpu" and slurm.gpus_per_node < 1) or slurm.nodes < 1:
        raise mistakes.Mistake(
            "slurm: wanted nodes of 1 or more and per = 'node', or 'gpu' with gpus_per_node of 1 or more, found "
            f"nodes = {slurm.nodes}, per = {slurm.per!r}, gpus_per_node = {slurm.gpus_per_node}."
        )
    head = "\n".join(f"#SBATCH {option}" for option in _options(job))
    assigned = [f"export {name}={jobs.shell([job.environment[name]])}" for name in job.environment]
    if slurm.cpus_per_task:
        # srun does not take that over from sbatch.
        assigned.append(f"export SRUN_CPUS_PER_TASK={slurm.cpus_per_task}")
    before = "\n".join([*slurm.setup, *assigned])
    return f"""#!/bin/bash
{head}

{before}
export SPEECHLM_COORDINATOR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):{slurm.port or _PORT}"
# A notice reaches this shell, too, which has to see how the others end.
trap : TERM
srun --export=ALL --kill-on-bad-exit=0 bash -c {jobs.shell([_task(job)])} &
while wait $!; code=$?; kill -0 $! 2>/dev/null; do :; done
# What was cancelled, or is put back by somebody else, is not running any more.
state="$(scontrol --oneliner show job "$SLURM_JOB_ID")"
if {_goes_on()} && [[ "$state" == *JobState=RUNNING* ]] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {job.retries} ]; then
    echo "the run ended with code $code; back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
    sleep 60
fi
exit "$code"
"""


def _options(job: jobs.Job) -> list[str]:
    slurm = job.slurm
    tasks = slurm.tasks_per_node or (slurm.gpus_per_node if slurm.per == "gpu" else 1)
    asked = {
        "job-name": job.name,
        "nodes": slurm.nodes,
        "ntasks-per-node": tasks,
        "gpus-per-node": slurm.gpus_per_node,
        "cpus-per-task": slurm.cpus_per_task,
        "mem": slurm.memory,
        "time": slurm.time,
        "partition": slurm.partition,
        "account": slurm.account,
        "open-mode": "append",
        "output": "%x-%j.log",
        # Names alone: their values come from whoever submits.
        "export": ",".join((*_LEFT_OPEN, *job.secrets)),
        "signal": f"TERM@{slurm.notice_seconds}" if slurm.notice_seconds else "",
    }
    return [*(f"--{name}={value}" for name, value in asked.items() if value), "--requeue", *slurm.options]


def _task(job: jobs.Job) -> str:
    """What each task runs."""
    told = ["export SPEECHLM_PROCESSES=$SLURM_NTASKS SPEECHLM_PROCESS_ID=$SLURM_PROCID"]
    if job.slurm.per == "gpu":
        # Slurm names all that the job has of a node.
        told.append('export CUDA_VISIBLE_DEVICES="$(cut -d, -f$((SLURM_LOCALID + 1)) <<< "$CUDA_VISIBLE_DEVICES")"')
    return "; ".join([*told, f"exec {jobs.shell(job.command())}"])


def _goes_on() -> str:
    """A condition of shell: the code is one of a run that goes on."""
    tests = [*(f'[ "$code" -eq {code} ]' for code in jobs.RESTARTED), '[ "$code" -ge 128 ]']
    return f"{{ {' || '.join(tests)}; }}"
