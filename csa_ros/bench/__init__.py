"""What it costs: each module measures one part, `csa_ros.tools.bench` runs them all."""
