"""A job that every target can start."""

JOB = """
name = "base"
recipe = "gin_configs/recipes/objectives.gin"
bindings = ["Recipe.steps=100000", "Stream.mixture='all of it'"]
run_dir = "/data/runs/base"
topology = "v5e:16x16"
slices = 2
retries = 7
gpu_memory_gb = 80
secrets = ["WANDB_API_KEY"]

[environment]
TFDS_DATA_DIR = "gs://bucket/tfds data"

[local]
processes = 2
devices = 4

[tpu_vm]
project = "my-project"
zone = "us-west4-a"
spot = true

[gke]
image = "registry/speechlm:1"
cluster = "pod"
secret = "speechlm"
bucket = "my-bucket"
queue = "research"
service_account = "trainer"

[slurm]
nodes = 4
gpus_per_node = 8
per = "gpu"
time = "24:00:00"
setup = ["source .venv/bin/activate"]

[skypilot]
accelerators = "H100:8"
nodes = 2
infra = "gcp/us-central1"
mounts = { "/data" = "gs://my-bucket" }
"""


def write(folder, text=JOB):
    """Its path."""
    path = folder / "job.toml"
    path.write_text(text)
    return str(path)
